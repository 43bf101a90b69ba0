"""Calls each operation of a platform with the client at hand and prints what came of it."""

import json
import sys

import flow_client
from flow_client import PlatformClient, models
from flow_client._api._generated import operations
from flow_client.errors import InvalidRequestError, PlatformNotFoundError

url, org, workspace, component = sys.argv[1:]
found = {"package": flow_client.__file__}


def refusal(call, *arguments, **fields):
    try:
        call(*arguments, **fields)
    except (ValueError, InvalidRequestError, PlatformNotFoundError) as error:
        return type(error).__name__
    return None


with PlatformClient(url, "token", org, workspace) as client:
    handle = client.submit_code_block_execution(component, {"n": 1}, ring_id="r")
    record = handle.wait(timeout=60)
    found["ticket"] = [type(handle.accepted).__name__, handle.accepted.queue_position, handle.idempotency_key]
    found["record"] = [type(record).__name__, record.status, record.is_terminal, record.output, record.region]
    found["promised"] = [record.error, record.metrics or None, record.started_at, record.finished_at]
    found["id"] = [type(record.execution_id).__name__, record.execution_id == handle.execution_id]
    found["workflow"] = client.execute_workflow(component, {}, ring_id="r", timeout_seconds=60).status
    found["agent"] = client.submit_agent_execution(component, {}, ring_id="r").wait(timeout=60).status
    found["cancel"] = type(client.cancel_execution(handle.execution_id)).__name__
    found["inline"] = client.execute_agent(component, {"a": 1}, None).output
    found["transform"] = client.execute_transform(component, [1, None, {"x": 2.5}], None)
    found["skills"] = [client.get_service_skills("s"), client.get_service_skills("s", version="3")]
    found["refused"] = [
        refusal(client.get_execution_status, "a/b"),
        refusal(client.submit_workflow_execution, "*", {}, ring_id="r"),
        refusal(models.TransformCallRequest, input_data=1, caller_deployment_id=None, unknown=1),
        refusal(client.get_execution_status, component),
    ]

grown = {"execution_id": "e", "status": "hibernating", "output": {}, "region": "x", "colour": {"red": 1}}
kept = models.ExecutionRecord.model_validate({"created_at": "2026-01-05T09:30:00", **grown})
found["kept"] = [kept.status, kept.is_terminal, kept.colour]
found["retries"] = {each.operation_id: each.retry for each in operations.OPERATIONS}
found["models"] = models.__all__
found["subjects"] = [operations.EXECUTION_INPUT_SUBJECT, models.ExecutionInput().input_data]
json.dump(found, sys.stdout)
