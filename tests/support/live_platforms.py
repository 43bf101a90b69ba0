"""Platforms that know nothing of this client: real FastAPI applications of the nine operations, each in a style."""

# ruff: noqa: B008, FAST002, UP045 - they are written as other people write theirs
import copy
import datetime as dt
import enum
import socket
import threading
import uuid
from contextlib import contextmanager
from typing import Any, Literal, Optional

import uvicorn
from fastapi import APIRouter, Body, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field

ORG = "5a0e6f0e-2f0c-4d0e-9a55-0d3f5b6f3c11"
WORKSPACE = "8d1c1d0e-7a41-4b8e-8f5e-8b0f6f0f1a22"
COMPONENT = "0b9f7c52-3f5e-4a3b-a0d6-1c2d3e4f5a33"


class Engine:
    """Executions in memory: running at the first look, completed after that. Each key is refused once."""

    def __init__(self):
        self.keys: list[tuple[str, str]] = []
        self.bodies: list[dict[str, Any]] = []
        self.looks: dict[str, int] = {}

    def submit(self, request, body):
        """Return a new execution's id, after one 503 for each idempotency key."""
        self.check(request)
        self.bodies.append(body if isinstance(body, dict) else body.model_dump())
        execution_id = str(uuid.uuid4())
        self.looks[execution_id] = 0
        return execution_id

    def check(self, request):
        """Answer a key's first request with 503: the client has to come again with the same."""
        key = request.headers.get("Idempotency-Key", "")
        self.keys.append((request.url.path, key))
        if [each for _, each in self.keys].count(key) == 1:
            raise HTTPException(503, "come again")

    def look(self, execution_id):
        execution_id = str(execution_id)
        if execution_id not in self.looks:
            raise HTTPException(404, "There is no such execution.")
        self.looks[execution_id] += 1
        return "completed" if self.looks[execution_id] > 1 else "running"


class Status(str, enum.Enum):
    """A status of the platform's own."""

    pending = "pending"
    queued = "queued"
    running = "running"
    completed = "completed"
    failed = "failed"
    timeout = "timeout"
    dead_letter = "dead_letter"
    cancelled = "cancelled"
    paused = "paused"


class Tokens(BaseModel):
    input_tokens: int = 0
    output_tokens: int = 0


class Usage(BaseModel):
    r"""What was consumed. A backslash: \n, and quotes: '''."""

    tokens: Tokens
    cost: float | None = None


class Run(BaseModel):
    """A run, as this platform calls an execution."""

    execution_id: uuid.UUID
    status: Status
    output: Any = None
    error: Optional[dict[str, Any]] = None
    usage: Optional[Usage] = None
    messages: list[dict[str, Any]] = []
    state: Optional[dict[str, Any]] = None
    metrics: dict[str, float] = {}
    created_at: dt.datetime
    started_at: Optional[dt.datetime] = None
    finished_at: Optional[dt.datetime] = None
    region: str
    retries: int = 0
    class_: str = Field("batch", alias="class")
    parent: Optional["Run"] = None


class RunTicket(BaseModel):
    execution_id: uuid.UUID
    status: Status
    queue_position: Optional[int] = None


class CodeBlockRunCreate(BaseModel):
    input_parameters: dict[str, Any]
    config: dict[str, Any] = {}
    lifecycle_event: str = "workflow"
    ring_id: str = Field(min_length=1)
    timeout_seconds: float = Field(300, gt=0)
    priority: int = 5
    labels: Optional[dict[str, str]] = None


class WorkflowRunCreate(BaseModel):
    input_data: dict[str, Any]
    config: Optional[dict[str, Any]] = None
    lifecycle_event: Literal["workflow", "agent_run", "schedule"] = "workflow"
    ring_id: str
    timeout_seconds: int | float = 300
    notify: Optional[uuid.UUID] = None


class AgentRunCreate(WorkflowRunCreate):
    memory: Optional[Tokens] = None


class AgentCall(BaseModel):
    input_data: Any
    execution_mode: str = "inline"
    caller_deployment_id: Optional[uuid.UUID] = None


class AgentReply(BaseModel):
    output: Any
    usage: Optional[Usage] = None
    messages: Optional[list[dict[str, Any]]] = None
    model_name: str = "m-1"


class TransformCall(BaseModel):
    input_data: Any
    caller_deployment_id: Optional[uuid.UUID] = None


def typed(root="/api/v1"):
    """Everything declared: response models, UUIDs, enumerations, a header, routes that are nobody's business here."""
    app, engine = FastAPI(title="Acme Runs", version="7.1.0"), Engine()
    app.include_router(_block_runs(root, engine))
    _add_the_rest(app, engine, root)
    return app, engine


def _block_runs(root, engine):
    workspace = APIRouter(prefix=root + "/orgs/{organization_id}/workspaces/{workspace}")

    @workspace.post("/code-blocks/{block_id}/executions", status_code=202)
    def create_block_run(
        organization_id: uuid.UUID,
        workspace: uuid.UUID,
        block_id: uuid.UUID,
        body: CodeBlockRunCreate,
        request: Request,
        idempotency_key: str = Header(),
    ) -> RunTicket:
        return RunTicket(execution_id=engine.submit(request, body), status=Status.pending, queue_position=3)

    @workspace.get("/executions/{run_id}")
    def read_run(organization_id: uuid.UUID, workspace: uuid.UUID, run_id: uuid.UUID) -> Run:
        now = dt.datetime.now(dt.timezone.utc)
        usage = Usage(tokens=Tokens(input_tokens=3), cost=0.5)
        status = engine.look(run_id)
        return Run(execution_id=run_id, status=status, output={"n": 1}, usage=usage, created_at=now, region="eu")

    return workspace


def _add_the_rest(app, engine, root):  # noqa: C901 - its functions are routes
    workspace = APIRouter(prefix=root + "/orgs/{organization_id}/workspaces/{workspace}")

    @workspace.post("/workflows/{flow_id}/executions", status_code=202)
    def create_flow_run(
        organization_id: str, workspace: str, flow_id: str, body: WorkflowRunCreate, request: Request
    ) -> RunTicket:
        return RunTicket(execution_id=engine.submit(request, body), status=Status.pending)

    @workspace.post("/agents/{agent}/executions", status_code=202)
    def create_agent_run(
        organization_id: str, workspace: str, agent: str, body: AgentRunCreate, request: Request
    ) -> RunTicket:
        return RunTicket(execution_id=engine.submit(request, body), status=Status.queued)

    @workspace.post("/executions/{run_id}/cancel")
    def cancel_run(organization_id: str, workspace: str, run_id: str, request: Request):
        engine.check(request)
        return {"execution_id": run_id, "status": "cancelled", "by": "you"}

    inline = APIRouter(prefix=root + "/component-execution")

    @inline.post("/agents/{agent}/execute")
    def call_agent(agent: str, body: AgentCall, request: Request) -> AgentReply:
        engine.check(request)
        return AgentReply(output={"said": body.input_data})

    @inline.post("/transforms/{transform}/execute")
    def call_transform(transform: str, body: TransformCall, request: Request) -> Any:
        engine.check(request)
        return body.input_data

    services = APIRouter(prefix=root + "/orgs/{org}/services")

    @services.get("/{service}/skills.json")
    def skills(org: str, service: str) -> dict[str, Any]:
        return {"skills": [service]}

    @services.get("/{service}/v{version}/skills.json")
    def skills_of_version(org: str, service: str, version: int) -> dict[str, Any]:
        return {"skills": [version]}

    for router in (workspace, inline, services):
        app.include_router(router)
    _routes_of_no_concern(app)


def untyped():
    """Nothing declared: dictionaries in and out, no response models."""
    app, engine = FastAPI(title="Quick Runs"), Engine()
    workspace = "/api/v1/orgs/{o}/workspaces/{w}"

    @app.post(workspace + "/code-blocks/{c}/executions", status_code=202)
    @app.post(workspace + "/workflows/{c}/executions", status_code=202)
    @app.post(workspace + "/agents/{c}/executions", status_code=200)
    def submit(o, w, c, request: Request, body: dict = Body()):
        return {"execution_id": engine.submit(request, body), "status": "pending", "queue_position": 3}

    @app.get(workspace + "/executions/{e}")
    def read(o, w, e):
        return {"execution_id": e, "status": engine.look(e), "output": {"n": 1}, "region": "eu"}

    @app.post(workspace + "/executions/{e}/cancel", status_code=204)
    def cancel(o, w, e, request: Request):
        engine.check(request)
        return Response(status_code=204)

    @app.post("/api/v1/component-execution/agents/{a}/execute")
    def agent(a, request: Request, body: dict = Body()):
        engine.check(request)
        return {"output": {"said": body["input_data"]}}

    @app.post("/api/v1/component-execution/transforms/{a}/execute")
    def transform(a, request: Request, body: dict = Body()):
        engine.check(request)
        return body["input_data"]

    @app.get("/api/v1/orgs/{o}/services/{s}/skills.json")
    def skills(o, s):
        return {"skills": [s]}

    @app.get("/api/v1/orgs/{o}/services/{s}/v{v}/skills.json")
    def skills_of_version(o, s, v: int):
        return {"skills": [v]}

    _routes_of_no_concern(app)
    return app, engine


def strict():
    """Requests that refuse what they do not know; schemas that are called like ours and are something else."""

    class ExecutionInput(BaseModel):  # ours is a NATS payload
        model_config = ConfigDict(extra="forbid")
        input_parameters: dict[str, Any] | None
        config: dict[str, Any]
        lifecycle_event: str
        ring_id: str
        timeout_seconds: int | float = Field(gt=0, le=86400)

    class ExecutionRecord(BaseModel):  # ours is the status
        model_config = ConfigDict(extra="allow")
        execution_id: str
        status: Literal["pending"] = "pending"

    class Details(BaseModel):
        items: list[int] = []
        keys: str = "k"

    class Record(BaseModel):
        execution_id: str
        status: Literal["running", "completed"]
        output: dict[str, Any]
        region: str
        details: Details | None = None
        is_terminal: bool = False
        to_dict: str = "t"
        jobId: int = 1  # noqa: N815 - as it is on the wire

    Details.__name__ = "Field"
    Record.__name__ = "Any"
    app, engine = FastAPI(title="Strict Runs", version="2"), Engine()

    @app.post("/api/v1/orgs/{o}/workspaces/{w}/code-blocks/{c}/executions", status_code=202)
    def submit(o: str, w: str, c: str, request: Request, body: ExecutionInput) -> ExecutionRecord:
        return ExecutionRecord(execution_id=engine.submit(request, body), queue_position=3)

    @app.get("/api/v1/orgs/{o}/workspaces/{w}/executions/{e}", response_model=Record)
    def read(o: str, w: str, e: str):
        return {"execution_id": e, "status": engine.look(e), "output": {"n": 1}, "region": "eu", "details": {}}

    _add_the_rest(app, engine, "/api/v1")
    return app, engine


def older():
    """The typed platform behind OpenAPI 3.0."""
    return _with_document(typed(), downgraded)


def moved():
    """The typed platform under another root, with inlined schemas."""
    return _with_document(typed("/flow/v2"), inlined)


STYLES = {each.__name__: each for each in (typed, untyped, strict, older, moved)}


def downgraded(document):
    """Return the document as OpenAPI 3.0 says it: `nullable`, `allOf` around a reference, flags as exclusive bounds."""

    def walk(node):
        if isinstance(node, list):
            return [walk(each) for each in node]
        if not isinstance(node, dict):
            return node
        node = {key: walk(value) for key, value in node.items()}
        choices = node.get("anyOf")
        if isinstance(choices, list) and {"type": "null"} in choices:
            left = [each for each in choices if each != {"type": "null"}]
            del node["anyOf"]
            only = {"allOf": left} if len(left) == 1 and "$ref" in left[0] else left[0] if len(left) == 1 else None
            node = {**node, **(only or {"anyOf": left}), "nullable": True}
        if isinstance(node.get("exclusiveMinimum"), (int, float)):
            node = {**node, "minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
        if "const" in node:
            node["enum"] = [node.pop("const")]
        return node

    return {**walk(document), "openapi": "3.0.3"}


def inlined(document, open_refs=()):
    """Return the document with each reference replaced by what it stands for, but for a schema within itself."""
    components = document.get("components", {}).get("schemas", {})

    def walk(node, within):
        if isinstance(node, list):
            return [walk(each, within) for each in node]
        if not isinstance(node, dict):
            return node
        name = str(node.get("$ref", "")).rpartition("/")[2]
        if name in components and name not in within and not _is_recursive(name, components):
            return {**walk(components[name], (*within, name)), **{k: v for k, v in node.items() if k != "$ref"}}
        return {key: walk(value, within) for key, value in node.items()}

    return {**document, "paths": walk(document["paths"], open_refs)}


def _is_recursive(name, components):
    return f"/{name}'" in repr(components[name])


def _with_document(platform, change):
    app, engine = platform
    document = change(copy.deepcopy(app.openapi()))
    app.openapi = lambda: document
    return app, engine


def _routes_of_no_concern(app):
    @app.get("/healthz")
    def health(): ...

    @app.delete("/orgs/{org_id}")
    def delete_organisation(org_id: str): ...

    @app.get("/api/v1/orgs/{org_id}/billing")
    def billing(org_id: str) -> list[Tokens]: ...

    @app.delete("/api/v1/orgs/{org_id}/workspaces/{workspace_id}/executions/{execution_id}")
    def delete_execution(org_id: str, workspace_id: str, execution_id: str): ...


@contextmanager
def served(app):
    """Serve an application on a free port and give its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)
