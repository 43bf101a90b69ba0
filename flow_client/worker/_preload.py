"""What a worker needs, for a process that loads it once and then forks workers.

Importing this module imports what `python -m flow_client.worker` imports at once, what it imports later, and what most
handlers use; and it builds the models, which are otherwise built at their first use. It starts no thread and opens
nothing.
"""

from __future__ import annotations

from importlib import import_module
from inspect import getmembers, isclass

from pydantic import BaseModel

from flow_client._api._generated import models

MODULES = (
    "argparse",
    "faulthandler",
    "ssl",
    "tenacity",
    "flow_client.bridge",
    "flow_client.client",
    "flow_client.models",
    "flow_client.worker._rehearsal",
    "flow_client.worker._run",
)


def _build(model: type[BaseModel]) -> None:
    model.model_rebuild(raise_errors=False)


for _name in MODULES:
    import_module(_name)
for _, _model in getmembers(models, lambda member: isclass(member) and issubclass(member, BaseModel)):
    _build(_model)
