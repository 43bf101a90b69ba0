"""What the retry class of an operation does to its requests."""

from dataclasses import replace

import pytest
from support.http import Answer

from flow_client import models
from flow_client._api._generated import operations
from flow_client._api.model import Model
from flow_client.errors import PlatformServerError

FIELDS = {"input_data": 1, "caller_deployment_id": None}


def call(client, operation, fields=None, **ids):
    values = {"org_id": "o", "workspace_id": "w", **ids}
    return client._transport.call(operation, values, fields)


def test_an_operation_without_a_class_is_sent_once_and_without_a_key(make_client, http_server):
    client = make_client(max_attempts=5)
    http_server.default = Answer(503, {"detail": "later"})
    unknown = replace(operations.EXECUTE_TRANSFORM, retry="none")
    with pytest.raises(PlatformServerError) as caught:
        call(client, unknown, FIELDS, transform_id="t")
    assert len(http_server.received) == 1
    assert "Idempotency-Key" not in http_server.received[0].headers
    assert caught.value.attempts == 1


def test_only_fields_that_are_given_are_sent(client, http_server):
    """A platform's own default stays its own: a field that the method does not send is not sent as null."""
    http_server.default = Answer(200, {"a": 1})

    class Grown(models.TransformCallRequest):
        priority: int | None = None

    class GrownModel(Model):
        type = Grown

    grown = replace(operations.EXECUTE_TRANSFORM, request=GrownModel("Grown"))
    call(client, grown, FIELDS, transform_id="t")
    assert http_server.received[0].json == FIELDS
