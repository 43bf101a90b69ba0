"""The list of executions and their logs, which a platform need not offer."""

import itertools
from urllib.parse import parse_qs, urlsplit

import pytest
from support.http import Answer

from flow_client import (
    InvalidRequestError,
    PlatformNotFoundError,
    PlatformResponseError,
    PlatformServerError,
    PlatformUnsupportedError,
)

LIST = "/api/v1/orgs/org-1/workspaces/ws-1/executions"
NOT_OFFERED = [404, 405]


def page(*ids, next_cursor=None):
    executions = [{"execution_id": each, "status": "completed"} for each in ids]
    return Answer(200, {"executions": executions, "next_cursor": next_cursor})


def test_the_pages_are_read_as_they_are_needed(client, http_server):
    http_server.queue(page("e-3", "e-2", next_cursor="c 1"), page("e-1"))
    executions = client.list_executions()
    assert http_server.received == []
    assert [next(executions).execution_id for _ in range(2)] == ["e-3", "e-2"]
    assert len(http_server.received) == 1
    assert [each.execution_id for each in executions] == ["e-1"]
    queries = [parse_qs(urlsplit(each.path).query) for each in http_server.received]
    assert queries == [{"limit": ["100"]}, {"limit": ["100"], "cursor": ["c 1"]}]


def test_filters_go_into_the_query(client, http_server):
    http_server.queue(page())
    filters = {"status": ("failed", "timeout"), "kind": "code_block", "component_id": "count-words", "page_size": 7}
    assert list(client.list_executions(**filters)) == []
    address = urlsplit(http_server.received[0].path)
    assert (http_server.received[0].method, address.path) == ("GET", LIST)
    assert parse_qs(address.query) == {
        "status": ["failed", "timeout"],
        "kind": ["code_block"],
        "component_id": ["count-words"],
        "limit": ["7"],
    }


def test_one_status_may_be_given_by_itself(client, http_server):
    http_server.queue(page())
    list(client.list_executions(status="failed"))
    assert parse_qs(urlsplit(http_server.received[0].path).query)["status"] == ["failed"]


@pytest.mark.parametrize(
    "filters", [{"page_size": 0}, {"page_size": "7"}, {"status": 3}, {"status": [3]}, {"kind": 3}, {"component_id": 3}]
)
def test_a_filter_that_is_not_valid_is_refused_before_anything_is_sent(client, http_server, filters):
    with pytest.raises(InvalidRequestError, match=f"^{next(iter(filters))} is "):
        client.list_executions(**filters)
    assert http_server.received == []


def test_a_list_that_goes_round_in_circles_is_an_error(client, http_server):
    http_server.default = page("e-1", next_cursor="c")
    with pytest.raises(PlatformResponseError, match="repeats the page"):
        list(itertools.islice(client.list_executions(), 10))


@pytest.mark.parametrize("status", NOT_OFFERED)
def test_a_platform_without_a_list_is_an_error_that_says_so(client, http_server, status):
    http_server.queue(Answer(status, {"detail": "Not Found"}))
    with pytest.raises(PlatformUnsupportedError, match="this platform does not list executions") as caught:
        list(client.list_executions())
    assert (caught.value.status_code, caught.value.detail) == (status, "Not Found")
    assert len(http_server.received) == 1


def test_another_error_stays_what_it_is(make_client, http_server):
    http_server.queue(Answer(500, {"detail": "broken"}))
    with pytest.raises(PlatformServerError, match="broken"):
        list(make_client(max_attempts=1).list_executions())


def test_logs_are_text(client, http_server):
    http_server.queue(Answer(200, {"execution_id": "e-1", "logs": "going\n"}))
    assert client.execution("e-1").logs() == "going\n"
    assert (http_server.received[0].method, http_server.received[0].path) == ("GET", f"{LIST}/e-1/logs")


@pytest.mark.parametrize("status", NOT_OFFERED)
def test_a_platform_without_logs_is_an_error_that_says_so(client, http_server, status):
    http_server.queue(Answer(status, {"detail": "Not Found"}))
    with pytest.raises(PlatformUnsupportedError, match="does not show the logs of executions") as caught:
        client.get_execution_logs("e-1")
    assert (caught.value.status_code, caught.value.execution_id) == (status, "e-1")


def test_the_logs_of_an_execution_that_is_not_there_are_not_found(client, http_server):
    http_server.default = Answer(404, {"detail": "There is no execution 'e-1'."})
    with pytest.raises(PlatformNotFoundError, match="There is no execution"):
        client.execution("e-1").logs()
