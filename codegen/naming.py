"""What a field of the wire is called in Python."""

import keyword
import re

from flow_client._api import base

# What every model has already: a field of that name would hide it.
_TAKEN = frozenset({*dir(base.RecordMethods), *dir(base.OwnAnswer), *dir(base.FlowModel)})


def attribute(field: str) -> str:
    """Return the attribute's name for a field of that name: `class` becomes `class_`, `jobId` becomes `job_id`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", field)
    name = re.sub(r"\W", "_", words, flags=re.ASCII).strip("_").lower() or "field"
    if name[0].isdigit():
        name = f"field_{name}"
    return f"{name}_" if keyword.iskeyword(name) or name in _TAKEN else name
