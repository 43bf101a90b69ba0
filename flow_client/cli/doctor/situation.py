"""What is to be examined."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flow_client._core.profile import Profile
    from flow_client._core.secret import Secret


@dataclass(frozen=True)
class Situation:
    """The settings, as far as they are valid; those that are not are None.

    Attributes:
        profile: the profile, None if it cannot be read.
        base_url: the API's URL.
        org_id: the organisation.
        workspace_id: the workspace.
        nats_url: the NATS servers.
    """

    profile: Profile | None = None
    base_url: str | None = None
    org_id: str | None = None
    workspace_id: str | None = None
    nats_url: Secret | None = field(default=None, repr=False)
