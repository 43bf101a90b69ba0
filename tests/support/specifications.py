"""A live specification to change, and the locks that come of it."""

import copy
from functools import cache

from support.live_platforms import typed

from codegen import overlay, reading
from codegen.__main__ import DEFAULT_LOCK, DEFAULT_OVERLAY
from codegen.refresh import new_lock

ACTIONS = overlay.read(DEFAULT_OVERLAY)
OURS = reading.read(str(DEFAULT_LOCK))
ROOT = "/api/v1/orgs/{organization_id}/workspaces/{workspace}"
SUBMIT = f"{ROOT}/code-blocks/{{block_id}}/executions"
STATUS = f"{ROOT}/executions/{{run_id}}"
CANCEL = f"{STATUS}/cancel"


@cache
def _platform():
    """A FastAPI platform's specification, with more to change in it than FastAPI says by itself."""
    document = typed()[0].openapi()
    operation(document, STATUS, "get")["responses"]["404"] = {"description": "Not here."}
    operation(document, STATUS, "get")["parameters"].append(
        {"name": "fields", "in": "query", "required": False, "schema": {"type": "string"}}
    )
    schema(document, "CodeBlockRunCreate")["properties"]["labels"] = {
        "anyOf": [{"type": "object", "additionalProperties": {"type": "string"}}, {"type": "null"}]
    }
    schema(document, "CodeBlockRunCreate")["properties"]["owner"] = {
        "type": "string",
        "pattern": "^[a-z]+$",
        "maxLength": 20,
    }
    return document


def live():
    """Return the platform's specification, to be changed."""
    return copy.deepcopy(_platform())


@cache
def _locked():
    return refreshed(live(), OURS)


def locked():
    """Return the lock that the platform's specification gives; it is not to be changed."""
    return _locked()


def refreshed(document, lock, actions=ACTIONS):
    """Return the lock that a refresh makes of a live document."""
    return new_lock(document, lock, actions)[0]


def operation(document, path, method):
    return document["paths"][path][method]


def schema(document, name):
    return document["components"]["schemas"][name]


def field(document, name, of):
    return schema(document, name)["properties"][of]


def put(document, name, of, **what):
    """Let a schema's field be this."""
    schema(document, name)["properties"][of] = what
