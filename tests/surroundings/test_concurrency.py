"""Threads and greenlets that share one client."""

import pytest


def test_thirty_two_threads_each_get_their_own_answers(programs, serve):
    server = serve(gather=32)
    assert programs.run("threads", server) == {"gathered": 32, "right": 32 * 30}
    assert server.busiest >= 32


@pytest.mark.parametrize("order", ["patched first", "imported first"])
def test_fifty_greenlets_run_side_by_side_each_with_a_deadline_of_its_own(programs, serve, order):
    """The server answers none of the fifty before all of them are there."""
    server = serve(gather=50)
    report = programs.run("greenlets", server, order)
    assert (report["gathered"], report["right"]) == (50, 50 * 20)
    assert server.busiest >= 50
    assert [kind for kind, _ in report["late"]] == ["ExecutionWaitTimeout", "PlatformTimeoutError"]
    assert max(seconds for _, seconds in report["late"]) < 10
