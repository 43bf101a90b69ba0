"""What records and other answers can be asked."""

import json
from datetime import datetime, timezone
from typing import Annotated

import pytest
from pydantic import Field

from flow_client._api.base import FlowModel
from flow_client.models import AgentCallResponse, ErrorResponse, ExecutionCancellation, ExecutionRecord


def record(**fields):
    return ExecutionRecord.model_validate({"execution_id": "e-1", "status": "completed", **fields})


@pytest.mark.parametrize(
    ("started", "finished", "duration"),
    [
        ("2026-01-05T09:30:00Z", "2026-01-05T09:30:01.5Z", 1.5),
        ("2026-01-05T10:30:00+01:00", "2026-01-05T09:30:02", 2.0),
        ("2026-01-05T09:30:00", "2026-01-05T09:30:00Z", 0.0),
        ("2026-01-05T09:30:00Z", None, None),
        (None, "2026-01-05T09:30:00Z", None),
        ("0001-01-01T00:00:00Z", "2026-01-05T09:30:00Z", None),
        ("2026-01-05T09:30:01Z", "2026-01-05T09:30:00Z", None),
    ],
)
def test_the_duration_is_the_time_that_it_ran(started, finished, duration):
    assert record(created_at="2026-01-05T09:00:00Z", started_at=started, finished_at=finished).duration == duration


def test_a_record_becomes_a_json_object_with_all_its_fields():
    fields = record(output={"n": [1, None]}, created_at="2026-01-05T09:30:00+00:00", region="eu", duration=7).to_dict()
    assert json.loads(json.dumps(fields)) == fields
    assert fields == {
        "execution_id": "e-1",
        "status": "completed",
        "output": {"n": [1, None]},
        **dict.fromkeys(["error", "usage", "messages", "state", "metrics", "started_at", "finished_at", "logs"]),
        "created_at": "2026-01-05T09:30:00Z",
        "region": "eu",
        "duration": 7,
    }
    assert list(fields)[:4] == ["execution_id", "status", "output", "error"]


def test_fields_have_the_platforms_names():
    class Answer(FlowModel):
        created_by: Annotated[str, Field(alias="createdBy")]

    assert Answer.model_validate({"createdBy": "me"}).to_dict() == {"createdBy": "me"}


def test_a_record_can_be_read_back_from_its_json_object():
    original = record(created_at=datetime(2026, 1, 5, tzinfo=timezone.utc), region="eu")
    assert ExecutionRecord.model_validate(json.loads(json.dumps(original.to_dict()))) == original


def test_free_json_is_handed_on_as_it_came():
    deep = []
    for _ in range(500):
        deep = [deep]
    fields = record(output={"half an emoji": "\ud83d", "number": float("nan"), "deep": deep}).to_dict()
    assert json.dumps(fields)
    assert fields["output"]["number"] is not None


def test_models_within_a_model_become_json_objects_too():
    detail = [{"loc": ["body", 0], "msg": "Field required", "hint": "x"}]
    assert ErrorResponse.model_validate({"detail": detail}).to_dict() == {"detail": [{**detail[0], "type": None}]}


@pytest.mark.parametrize("value", [7, "text", [1], {"a": 1}, None])
def test_what_a_worker_may_push_is_never_refused_when_it_is_read(value):
    free = dict.fromkeys(["output", "error", "usage", "messages", "state", "metrics"], value)
    assert record(**free).usage == value
    assert AgentCallResponse(output=value, usage=value, messages=value).messages == value


@pytest.mark.parametrize(
    ("body", "kept"), [(None, {}), ({"a": 1}, {"a": 1}), ([1], {"body": [1]}), ("ok", {"body": "ok"})]
)
def test_an_answer_that_the_platform_words_as_it_likes_is_kept(body, kept):
    assert ExecutionCancellation.model_validate(body).model_extra == kept
