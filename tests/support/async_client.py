"""The async client whose scripts are ported, on httpx and nats-py: its answers are plain dicts.

It is as small as it can be and does what the contract says, so that one script runs on it and on ours. Nothing of
`flow_client` is in it.
"""

import asyncio
import json
import os
import time
import uuid
from contextlib import suppress
from datetime import datetime, timezone

import httpx
import nats

TERMINAL = {"completed", "failed", "timeout", "dead_letter", "cancelled"}


class PlatformClientError(Exception):
    def __init__(self, message, status_code=None):
        super().__init__(message)
        self.status_code = status_code


class PlatformNotFoundError(PlatformClientError):
    pass


class PlatformExecutionError(PlatformClientError):
    pass


class PlatformClient:
    def __init__(
        self,
        base_url=None,
        auth_token=None,
        org_id=None,
        workspace_id=None,
        timeout=None,
        on_auth_token_refresh=None,
    ):
        self._base_url = _setting(base_url, "PLATFORM_API_URL")
        self._source = auth_token if callable(auth_token) else None
        self._token = auth_token() if callable(auth_token) else _setting(auth_token, "AUTH_TOKEN")
        self._org = f"/api/v1/orgs/{org_id or os.environ.get('ORG_ID')}"
        self._workspace = f"{self._org}/workspaces/{workspace_id or os.environ.get('WORKSPACE_ID')}"
        self._on_refresh = on_auth_token_refresh
        self._http = httpx.AsyncClient(timeout=timeout or float(os.environ.get("PLATFORM_TIMEOUT_SECONDS", "300")))
        self._nats = None
        self._sequences = {}

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        await self.aclose()

    async def close(self):
        await self._http.aclose()
        if self._nats is not None:
            await self._nats.close()

    aclose = close

    # --- the HTTP API

    async def submit_code_block_execution(
        self,
        code_block_id,
        input_parameters,
        config=None,
        lifecycle_event="workflow",
        ring_id=None,
        timeout_seconds=300,
    ):
        body = {"input_parameters": input_parameters, **_terms(config, lifecycle_event, ring_id, timeout_seconds)}
        return await self._post(f"{self._workspace}/code-blocks/{code_block_id}/executions", body)

    async def submit_workflow_execution(
        self, workflow_id, input_data, config=None, lifecycle_event="workflow", ring_id=None, timeout_seconds=300
    ):
        body = {"input_data": input_data, **_terms(config, lifecycle_event, ring_id, timeout_seconds)}
        return await self._post(f"{self._workspace}/workflows/{workflow_id}/executions", body)

    async def submit_agent_execution(
        self, agent_id, input_data, config=None, lifecycle_event="agent_run", ring_id=None, timeout_seconds=300
    ):
        body = {"input_data": input_data, **_terms(config, lifecycle_event, ring_id, timeout_seconds)}
        return await self._post(f"{self._workspace}/agents/{agent_id}/executions", body)

    async def get_execution_status(self, execution_id):
        return await self._request("GET", f"{self._workspace}/executions/{execution_id}")

    async def cancel_execution(self, execution_id):
        return await self._post(f"{self._workspace}/executions/{execution_id}/cancel")

    async def execute_transform(self, transform_id, input_data, context, caller_deployment_id=None):
        body = {"input_data": input_data, "caller_deployment_id": _text(caller_deployment_id)}
        return await self._post(f"/api/v1/component-execution/transforms/{transform_id}/execute", body)

    async def get_service_skills(self, service_id, *, version=None):
        folder = f"{self._org}/services/{service_id}" + ("" if version is None else f"/v{version}")
        return await self._request("GET", f"{folder}/skills.json")

    # --- durable execution

    async def execute_code_block(
        self,
        code_block_id,
        input_parameters,
        context,
        scope="workspace",
        lifecycle_event="workflow",
        timeout_seconds=300,
        caller_deployment_id=None,
        ring_id=None,
    ):
        accepted = await self.submit_code_block_execution(
            code_block_id, input_parameters, context, lifecycle_event, ring_id, timeout_seconds
        )
        return await self._finish(accepted, timeout_seconds)

    async def execute_workflow(
        self,
        workflow_id,
        input_data,
        context=None,
        config=None,
        auto_deploy=True,  # noqa: FBT002 - the contract's
        lifecycle_event="workflow",
        caller_deployment_id=None,
        ring_id=None,
        timeout_seconds=None,
    ):
        budget = timeout_seconds or 300
        settings = context if config is None else config
        accepted = await self.submit_workflow_execution(
            workflow_id, input_data, settings, lifecycle_event, ring_id, budget
        )
        return await self._finish(accepted, budget)

    async def execute_agent(
        self,
        agent_id,
        input_data,
        context,
        execution_mode="inline",
        caller_deployment_id=None,
        ring_id=None,
        timeout_seconds=300,
    ):
        if execution_mode == "isolated":
            accepted = await self.submit_agent_execution(
                agent_id, input_data, context, ring_id=ring_id, timeout_seconds=timeout_seconds
            )
            return await self._finish(accepted, timeout_seconds)
        body = {
            "input_data": input_data,
            "execution_mode": execution_mode,
            "caller_deployment_id": _text(caller_deployment_id),
        }
        return await self._post(f"/api/v1/component-execution/agents/{agent_id}/execute", body)

    async def await_execution_result(
        self, execution_id, *, timeout_seconds=300, poll_interval_seconds=None, not_found_retry_seconds=30.0
    ):
        started = time.monotonic()
        while True:
            elapsed = time.monotonic() - started
            try:
                record = await self.get_execution_status(execution_id)
                if record["status"].lower() in TERMINAL:
                    return record
            except PlatformNotFoundError:
                if elapsed >= not_found_retry_seconds:
                    raise
            if elapsed >= timeout_seconds:
                raise TimeoutError(f"execution {execution_id} has not ended after {timeout_seconds} s")
            await asyncio.sleep(poll_interval_seconds or 0.05)

    async def _finish(self, accepted, budget):
        execution_id = accepted["execution_id"]
        try:
            return await self.await_execution_result(execution_id, timeout_seconds=budget)
        except TimeoutError as error:
            with suppress(PlatformClientError):  # best effort
                await self.cancel_execution(execution_id)
            raise PlatformExecutionError(f"{error}; its cancellation was asked for") from error

    # --- NATS

    async def fetch_execution_input(self, deployment_id, execution_id):
        js = await self._jetstream()
        subscription = await js.pull_subscribe(f"exec.input.{execution_id}", stream="EXEC_INPUT")
        (message,) = await subscription.fetch(1, timeout=60)
        await message.ack_sync()
        await subscription.unsubscribe()
        await self.publish_execution_status(execution_id, "running")
        defaults = {"input_data": {}, "session_id": None, "messages": [], "state": {}}
        return {**defaults, **json.loads(message.data)}

    async def push_execution_output(
        self, deployment_id, execution_id, output, usage=None, messages=None, state=None, error=None
    ):
        fields = {"execution_id": str(execution_id), "deployment_id": _text(deployment_id), "output": output}
        more = {"usage": usage, "messages": messages, "state": state, "error": error, "timestamp": _now()}
        await self._publish("output", execution_id, {**fields, **more})

    async def push_execution_event(self, deployment_id, execution_id, event_type, event_data):
        sequence = self._sequences[execution_id] = self._sequences.get(execution_id, 0) + 1
        fields = {"execution_id": str(execution_id), "sequence": sequence, "event_type": event_type}
        await self._publish("events", execution_id, {**fields, "event_data": event_data, "timestamp": _now()})

    async def publish_execution_status(self, execution_id, status):
        fields = {"execution_id": str(execution_id), "status": status, "timestamp": _now()}
        await self._publish("status", execution_id, fields)

    async def _publish(self, kind, execution_id, payload):
        js = await self._jetstream()
        await js.publish(f"exec.{kind}.{execution_id}", json.dumps(payload, default=str).encode())

    async def _jetstream(self):
        if self._nats is None:
            self._nats = await nats.connect(_setting(None, "NATS_URL").split(","))
        return self._nats.jetstream()

    async def _post(self, path, body=None):
        return await self._request("POST", path, body)

    async def _request(self, method, path, body=None):
        key = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        answer = await self._send(method, path, body, key)
        if answer.status_code == 401 and self._source is not None:
            self._token = self._source()
            answer = await self._send(method, path, body, key)
        renewed = answer.headers.get("X-Auth-Token")
        if renewed:
            self._token = renewed
            if self._on_refresh is not None:
                self._on_refresh(renewed)
        if not answer.is_success:
            kind = PlatformNotFoundError if answer.status_code == 404 else PlatformClientError
            raise kind(f"{method} {path}: {answer.status_code}", answer.status_code)
        return answer.json()

    async def _send(self, method, path, body, headers):
        authorised = {"Authorization": f"Bearer {self._token}", **headers}
        return await self._http.request(method, self._base_url + path, json=body, headers=authorised)


def _terms(config, lifecycle_event, ring_id, timeout_seconds):
    ring_id = ring_id or os.environ.get("RING_ID")
    if ring_id is None:
        raise PlatformClientError("ring_id is missing")
    terms = {"config": config or {}, "lifecycle_event": lifecycle_event}
    return {**terms, "ring_id": str(ring_id), "timeout_seconds": timeout_seconds}


def _setting(argument, variable):
    value = argument or os.environ.get(variable)
    if not value:
        raise ValueError(f"{variable} is missing")
    return value


def _text(identifier):
    return None if identifier is None else str(identifier)


def _now():
    return datetime.now(timezone.utc).isoformat()
