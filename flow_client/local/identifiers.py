"""The patterns of ids and versions, from the specification."""

from __future__ import annotations

import re

from flow_client._api._generated.operations import OPERATIONS

PATTERNS = {each.name: each.pattern for operation in OPERATIONS for each in operation.path_parameters}
"""The pattern of each path parameter, anchored at both ends."""
ID_PATTERN = PATTERNS["execution_id"]


def is_id(text: str) -> bool:
    """Return whether `text` can be an id. All ids have the same pattern, those of rings too."""
    return re.fullmatch(ID_PATTERN, text) is not None
