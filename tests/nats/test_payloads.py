"""Payloads and ids."""

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest

from flow_client import InvalidRequestError
from flow_client._nats import payloads

ID = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


@pytest.mark.parametrize("given", [ID, uuid.UUID(ID)])
def test_an_id_is_a_uuid_or_a_string(given):
    assert payloads.subject_token(given) == ID


@pytest.mark.parametrize("given", ["*", ">", "a.b", " ", "", "a/b", "..", "a\n", "a b", "é", "x" * 129, None, 5, b"a"])
def test_what_is_no_id_never_becomes_a_subject(given):
    with pytest.raises(InvalidRequestError, match="execution_id"):
        payloads.subject_token(given)


@pytest.mark.parametrize(("given", "sent"), [(None, None), ("d", "d"), (uuid.UUID(ID), ID)])
def test_a_deployment_is_a_string_or_null(given, sent):
    assert json.loads(payloads.output("e", given, output=1))["deployment_id"] == sent


def test_any_other_deployment_is_refused():
    with pytest.raises(InvalidRequestError, match="deployment_id"):
        payloads.output("e", 5, output=1)


@pytest.mark.parametrize("field", ["output", "usage", "messages", "state", "error"])
def test_what_an_output_cannot_say_is_refused_with_its_place(field):
    with pytest.raises(InvalidRequestError, match=rf"^{field}\.cfg\.layers\[1\] is a generator"):
        payloads.output("e", None, **{"output": None, field: {"cfg": {"layers": [1, (n for n in [1])]}}})


def test_what_an_event_cannot_say_is_refused_with_its_place():
    with pytest.raises(InvalidRequestError, match=r"^event_data\.rate is not a finite number"):
        payloads.event("e", "chunk", {"rate": float("nan")})


def test_an_event_waits_for_its_number():
    draft = payloads.event("e", "chunk", {"n": 1})
    first, second = json.loads(draft.numbered(1)), json.loads(draft.numbered(2))
    assert list(first) == ["execution_id", "sequence", "event_type", "event_data", "timestamp"]
    assert (first["sequence"], second["sequence"]) == (1, 2)
    assert {**first, "sequence": 2} == second


@pytest.mark.parametrize("name", ["", None, 5, b"x"])
def test_an_event_type_and_a_status_are_non_empty_strings(name):
    with pytest.raises(InvalidRequestError, match="event_type"):
        payloads.event("e", name, {})
    with pytest.raises(InvalidRequestError, match="status"):
        payloads.status("e", name)


def test_the_timestamp_is_iso_8601_in_utc():
    sent = datetime.fromisoformat(json.loads(payloads.status("e", "running"))["timestamp"])
    assert sent.utcoffset() == timedelta(0)
    assert abs(datetime.now(timezone.utc) - sent) < timedelta(seconds=5)
