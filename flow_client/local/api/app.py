"""The local platform's HTTP API: every operation of `openapi.yaml`."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Path, Query, Request, Response
from pydantic import BaseModel

from flow_client import models
from flow_client._api._generated import operations
from flow_client._api.model import Model
from flow_client._api.operation import Operation
from flow_client.local.api import problems
from flow_client.local.api.auth import Authentication
from flow_client.local.api.engine import Engine
from flow_client.local.api.submission import Accepted, Submission
from flow_client.local.identifiers import ID_PATTERN, PATTERNS
from flow_client.local.manifest import Manifest
from flow_client.local.settings import ServiceSettings
from flow_client.local.state.catalogue import CursorError, Entry, Filter
from flow_client.local.state.dispatch import LEVELS
from flow_client.local.state.records import Record

MAX_WAIT = 30.0
"""The most seconds that `Prefer: wait` holds a request."""
MAX_TIMEOUT = 7 * 24 * 3600.0
"""The longest `timeout_seconds` of an execution."""
DEFAULT_PAGE = 50
"""How many executions a page of a list has unless `limit` says."""
MAX_PAGE = 1000
INLINE_TIMEOUT = 300.0
"""Seconds that an inline call may take."""
_INLINE_MARGIN = 30.0
"""Seconds that an inline call waits beyond its limit, in which the runner ends the execution and records that."""

Id = Annotated[str, Path(pattern=ID_PATTERN)]
Version = Annotated[str, Path(pattern=PATTERNS["version"])]


@dataclass
class Caller:
    """What a request's headers and token say."""

    request: Request
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None
    billing_txn_id: Annotated[str | None, Header(alias="X-Parent-Billing-Txn-Id")] = None

    def submission(self, **what: Any) -> Submission:
        """Return this caller's request to run a component."""
        claims = self.request.state.claims
        if claims.level >= LEVELS:
            message = (
                f"Executions can be nested {LEVELS} levels deep; {what['component_id']!r} would be one level deeper."
            )
            raise HTTPException(422, message)
        return Submission(
            org_id=claims.org_id,
            workspace_id=claims.workspace_id,
            path=self.request.url.path,
            level=claims.level,
            idempotency_key=self.idempotency_key,
            billing_txn_id=self.billing_txn_id,
            **what,
        )


CallerArgument = Annotated[Caller, Depends()]
SubmitRequest = models.CodeBlockExecutionRequest | models.WorkflowExecutionRequest | models.AgentExecutionRequest


class Api:
    """The endpoints: one method for each operation, with the same name."""

    def __init__(self, engine: Engine, manifest: Manifest, settings: ServiceSettings) -> None:
        self._engine = engine
        self._manifest = manifest
        self._settings = settings

    async def submit_code_block_execution(
        self, code_block_id: Id, body: models.CodeBlockExecutionRequest, caller: CallerArgument
    ) -> Response:
        """Submit a code block for execution."""
        return await self._submit("code_block", code_block_id, body, body.input_parameters, caller)

    async def submit_workflow_execution(
        self, workflow_id: Id, body: models.WorkflowExecutionRequest, caller: CallerArgument
    ) -> Response:
        """Submit a workflow for execution."""
        return await self._submit("workflow", workflow_id, body, body.input_data, caller)

    async def submit_agent_execution(
        self, agent_id: Id, body: models.AgentExecutionRequest, caller: CallerArgument
    ) -> Response:
        """Submit an agent for execution in a process of its own."""
        return await self._submit("agent", agent_id, body, body.input_data, caller)

    async def get_execution_status(
        self, execution_id: Id, request: Request, prefer: Annotated[str | None, Header()] = None
    ) -> Response:
        """Read an execution's record, at once or when its status changes."""
        record = await self._record(execution_id, request)
        seconds = _preferred_wait(prefer)
        if seconds is None:
            return _json(await self._engine.describe(record))
        if not record.is_terminal:
            record = await self._engine.wait_for_change(record, seconds)
        return _json(await self._engine.describe(record), headers={"Preference-Applied": "wait"})

    async def list_executions(
        self,
        request: Request,
        status: Annotated[list[str] | None, Query()] = None,
        kind: str | None = None,
        component_id: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
        cursor: str | None = None,
    ) -> Response:
        """List the executions of a workspace, the newest first."""
        wanted = Filter([each.lower() for each in status or ()], kind, component_id)
        claims = request.state.claims
        try:
            page = self._engine.list(claims.org_id, claims.workspace_id, wanted, limit, cursor)
        except CursorError as error:
            raise problems.invalid(("query", "cursor"), str(error)) from error
        return _json({"executions": [_summary(entry) for entry in page.entries], "next_cursor": page.next_cursor})

    async def get_execution_logs(self, execution_id: Id, request: Request) -> Response:
        """Read the end of what an execution has printed so far."""
        logs = await self._engine.logs(await self._record(execution_id, request))
        return _json({"execution_id": execution_id, "logs": logs})

    async def cancel_execution(self, execution_id: Id, request: Request) -> Response:
        """Cancel an execution unless it has ended."""
        record = await self._engine.cancel(await self._record(execution_id, request))
        return _json({"execution_id": record.execution_id, "status": record.status})

    async def execute_agent(self, agent_id: Id, body: models.AgentCallRequest, caller: CallerArgument) -> Response:
        """Run an agent and return its output."""
        if body.execution_mode != "inline":
            message = f"is {body.execution_mode!r}, but only 'inline' is supported; submit an execution instead"
            raise problems.invalid(("body", "execution_mode"), message)
        result = await self._run_inline("agent", agent_id, body, caller)
        return _json({name: result[name] for name in ("output", "usage", "messages")})

    async def execute_transform(
        self, transform_id: Id, body: models.TransformCallRequest, caller: CallerArgument
    ) -> Response:
        """Run a transform and return its result."""
        result = await self._run_inline("transform", transform_id, body, caller)
        return _json(result["output"])

    async def get_service_skills(self, service_id: Id) -> Response:
        """Read the skills that a service publishes."""
        return self._skills(service_id, None)

    async def get_service_skills_version(self, service_id: Id, version: Version) -> Response:
        """Read the skills that one version of a service publishes."""
        return self._skills(service_id, version)

    async def _submit(
        self, kind: str, component_id: str, body: SubmitRequest, input_data: dict[str, Any], caller: Caller
    ) -> Response:
        if body.ring_id != self._settings.ring_id:
            message = f"is {body.ring_id!r}, which has no runner; this platform's ring is {self._settings.ring_id!r}"
            raise problems.invalid(("body", "ring_id"), message)
        if body.timeout_seconds > MAX_TIMEOUT:
            message = f"is {body.timeout_seconds:g}; the maximum is {MAX_TIMEOUT:g} seconds"
            raise problems.invalid(("body", "timeout_seconds"), message)
        accepted = await self._start(
            kind,
            component_id,
            body,
            caller,
            ring_id=body.ring_id,
            timeout_seconds=body.timeout_seconds,
            lifecycle_event=body.lifecycle_event,
            input_data=input_data,
            config=body.config,
        )
        answer = {"execution_id": accepted.record.execution_id, "status": accepted.record.status}
        return _json(answer, 202, {"Idempotent-Replayed": "true"} if accepted.is_replay else None)

    async def _run_inline(
        self,
        kind: str,
        component_id: str,
        body: models.AgentCallRequest | models.TransformCallRequest,
        caller: Caller,
    ) -> dict[str, Any]:
        accepted = await self._start(
            kind,
            component_id,
            body,
            caller,
            ring_id=self._settings.ring_id,
            timeout_seconds=INLINE_TIMEOUT,
            lifecycle_event=f"{kind}_run",
            input_data=body.input_data,
            config={},
        )
        record = await self._engine.wait_for_end(accepted.record, INLINE_TIMEOUT + _INLINE_MARGIN)
        result = await self._engine.describe(record)
        if record.status == "completed":
            return result
        # Not a 5xx, since clients retry those, and the same idempotency key leads to the same failure.
        message = f"{kind} {component_id!r} ended as {record.status}"
        detail = {"message": message, "execution_id": record.execution_id, "error": result["error"]}
        raise HTTPException(422, detail)

    async def _start(self, kind: str, component_id: str, body: BaseModel, caller: Caller, **terms: Any) -> Accepted:
        """Submit a request to run a component, if there is that component."""
        if self._manifest.find(kind, component_id) is None:
            raise HTTPException(404, f"There is no {kind} {component_id!r} in {self._manifest.path.name}.")
        submission = caller.submission(kind=kind, component_id=component_id, body=body.model_dump(), **terms)
        return await self._engine.submit(submission)

    async def _record(self, execution_id: str, request: Request) -> Record:
        claims = request.state.claims
        record = await self._engine.find(execution_id)
        if record is None or (record.org_id, record.workspace_id) != (claims.org_id, claims.workspace_id):
            raise HTTPException(404, f"There is no execution {execution_id!r}.")
        return record

    def _skills(self, service_id: str, version: str | None) -> Response:
        service = self._manifest.find_service(service_id, version)
        if service is None:
            which = f"service {service_id!r}" + (f" of version {version!r}" if version else "")
            raise HTTPException(404, f"There is no {which} in {self._manifest.path.name}.")
        return _json(service.skills)


def create_app(api: Api, signing_key: str) -> FastAPI:
    """Return the application with a route for each operation of the specification."""
    app = FastAPI(
        title="Flow platform, local",
        dependencies=[Depends(Authentication(signing_key))],
        responses={"default": {"model": models.ErrorResponse}},
    )
    problems.install(app)
    for operation in operations.OPERATIONS:
        _add_route(app, operation, getattr(api, operation.operation_id))
    return app


def _add_route(app: FastAPI, operation: Operation[Any], endpoint: Callable[..., Any]) -> None:
    answer = operation.answer.type if isinstance(operation.answer, Model) else operation.answer
    app.add_api_route(
        operation.path,
        endpoint,
        methods=[operation.method],
        status_code=operation.success,
        operation_id=operation.operation_id,
        response_model=Any if answer is object else answer,
        openapi_extra={"x-retry": operation.retry, "parameters": _scope(operation, endpoint)},
    )


def _scope(operation: Operation[Any], endpoint: Callable[..., Any]) -> list[dict[str, Any]]:
    """Return the declarations of the organisation and the workspace, which the token's check reads from the path."""
    return [
        {"name": each.name, "in": "path", "required": True, "schema": {"type": "string", "pattern": each.pattern}}
        for each in operation.path_parameters
        if each.name not in signature(endpoint).parameters
    ]


def _json(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    # Whatever a worker stored is returned if Python can read it: lone surrogates, NaN, hundreds of levels.
    return Response(json.dumps(content, separators=(",", ":")), status, headers, "application/json")


def _summary(entry: Entry) -> dict[str, Any]:
    return {
        "execution_id": entry.execution_id,
        "status": entry.status,
        "component": {"kind": entry.kind, "id": entry.component_id},
        "created_at": entry.created_at,
        "started_at": entry.started_at,
        "finished_at": entry.finished_at,
    }


def _preferred_wait(prefer: str | None) -> float | None:
    """Return the seconds of `Prefer: wait=N` (RFC 7240 section 4.3), at most `MAX_WAIT`; None without it."""
    found = re.search(r'(?:^|[,;\s])wait\s*=\s*"?(\d{1,9})(?![\w.])', prefer or "", re.IGNORECASE)
    return min(float(found[1]), MAX_WAIT) if found else None
