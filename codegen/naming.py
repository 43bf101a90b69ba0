"""Turns the names of fields into the names of Python attributes."""

import keyword
import re

from flow_client._api import base

# Names that every model has already; a field with one of them would hide it.
_TAKEN = frozenset({*dir(base.RecordMethods), *dir(base.OwnAnswer), *dir(base.FlowModel)})


def attribute(field: str) -> str:
    """Return the name of a field's attribute: `class` becomes `class_`, `jobId` becomes `job_id`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field)
    name = re.sub(r"\W", "_", words, flags=re.ASCII).strip("_").lower() or "field"
    if name[0].isdigit():
        name = f"field_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _TAKEN else name
