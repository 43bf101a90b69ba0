"""No execution finds a trace of another, though all are forked from one process."""

import pytest
from support.size import few

from flow_client.local import LocalPlatform

COUNT = few(150, of=10_000)


def run(platform, count):
    with platform.client() as client:
        submit = client.submit_workflow_execution
        handles = [submit("traces", {}, ring_id=platform.ring_id) for _ in range(count)]
        return [handle.result(timeout=1200) for handle in handles]


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_an_execution_finds_what_it_would_in_a_new_interpreter_and_no_trace_of_others(components, platform):
    with LocalPlatform(components, fresh_workers=True) as fresh:
        (alone,) = run(fresh, 1)
    outputs = run(platform, COUNT)
    for output in outputs:
        assert output["same"] == alone["same"]
    numbers = [number for output in outputs for number in output["random"]]
    assert len(set(numbers)) == len(numbers)
    assert all(output["leads_session"] for output in outputs)
