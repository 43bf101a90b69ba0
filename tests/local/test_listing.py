"""The local platform lists what ran, and shows what it printed."""

import pytest
from support.caller import Caller

from flow_client import PlatformNotFoundError, PlatformUnsupportedError
from flow_client.local import LocalPlatform


@pytest.fixture(scope="module")
def ran(components, store):
    """A store in which five executions ran, and their ids, the oldest first."""
    with LocalPlatform(components, store_dir=store, max_workers=1) as platform:
        caller = Caller(platform)
        runs = [("code-blocks", "count-words", {"text": "a"}), ("workflows", "fail", {}), ("agents", "answer", {})]
        ids = [caller.run(*run)["execution_id"] for run in [*runs, runs[0], runs[1]]]
        caller.session.close()
    return ids


@pytest.fixture(scope="module")
def platform(components, store, ran):
    """A platform on that store, started again."""
    with LocalPlatform(components, store_dir=store, max_workers=2) as platform:
        yield platform


@pytest.fixture
def listed(client, eventually, ran):
    """A function that returns the positions in `ran` of what is listed."""
    assert eventually(lambda: len(list(client.list_executions())) >= len(ran))
    ids = set(ran)

    def positions(**filters):
        found = [each.execution_id for each in client.list_executions(**filters)]
        return [ran.index(each) for each in found if each in ids]

    return positions


def test_the_newest_comes_first_also_after_a_restart(listed):
    assert listed() == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("page_size", [1, 2, 5])
def test_pages_are_joined(listed, page_size):
    assert listed(page_size=page_size) == [4, 3, 2, 1, 0]


@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        ({"status": "failed"}, [4, 1]),
        ({"status": "FAILED"}, [4, 1]),
        ({"status": ["failed", "completed"]}, [4, 3, 2, 1, 0]),
        ({"status": "running"}, []),
        ({"kind": "agent"}, [2]),
        ({"component_id": "count-words", "page_size": 1}, [3, 0]),
        ({"component_id": "fail", "kind": "agent"}, []),
    ],
)
def test_lists_are_filtered(listed, filters, positions):
    assert listed(**filters) == positions


def test_an_entry_says_what_ran_and_when(listed, client, ran):
    entry = next(each for each in client.list_executions() if each.execution_id == ran[0])
    assert (entry.status, entry.component) == ("completed", {"kind": "code_block", "id": "count-words"})
    assert entry.created_at < entry.started_at < entry.finished_at


def test_a_running_execution_is_listed_and_shows_its_log(platform, client, eventually):
    handle = client.submit_workflow_execution("talk-and-sleep", {}, ring_id=platform.ring_id)
    assert eventually(lambda: handle.logs() == "going to bed\n")
    assert eventually(lambda: next(client.list_executions(status="running"), None) is not None)
    assert handle.status().logs is None
    handle.cancel()
    assert handle.wait().logs == handle.logs() == "going to bed\n"


def test_the_record_of_a_completed_execution_has_its_log(platform, client):
    record = client.execute_agent("talk", {}, None, "isolated", ring_id=platform.ring_id)
    assert (record.status, record.logs, record.error) == ("completed", "said\n", None)
    assert (platform.log_folder / f"{record.execution_id}.log").read_text() == "said\n"


def test_another_workspace_sees_nothing(platform, ran):
    for who in ({"org_id": "other"}, {"workspace_id": "other"}):
        token = platform.issue_token(**who)
        with platform.client(auth_token=token, **who) as client:
            assert list(client.list_executions()) == []
            with pytest.raises(PlatformNotFoundError, match="There is no execution"):
                client.get_execution_logs(ran[0])


def test_a_token_lists_its_own_workspace_only(platform):
    other = platform.issue_token(org_id="other")
    unknown = pytest.raises(PlatformUnsupportedError, match="or it does not know the organisation or the workspace")
    with platform.client(auth_token=other) as client, unknown:
        list(client.list_executions())


@pytest.mark.parametrize("limit", ["0", "1001", "many"])
def test_a_page_has_a_bound(platform, limit):
    caller = Caller(platform)
    assert caller.get(f"{caller.workspace}/executions?limit={limit}").status_code == 422
    caller.session.close()


@pytest.mark.parametrize("cursor", ["x", "e30=", "MQ==", "WzFd", "W1tb" * 8000, "ä"])
def test_a_cursor_of_somebody_else_is_refused(platform, cursor):
    caller = Caller(platform)
    answer = caller.get(f"{caller.workspace}/executions?cursor={cursor}")
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["query", "cursor"]
    caller.session.close()
