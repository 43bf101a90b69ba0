"""Signals at any point of a bridge's calls, with handlers that raise, and that push, flush and publish."""

import pytest
from support.size import few
from surroundings.storms import OK, storm


@pytest.mark.soak
@pytest.mark.timeout(240)
def test_a_storm_of_signals_freezes_nothing_and_loses_nothing(tmp_path):
    wrong, counts = storm(tmp_path, seconds=few(5, of=60), seed=1)
    assert wrong == OK
    assert min(counts["interrupts"], counts["calls in handlers"], counts["bridges"], counts["restarts"]) > 0
