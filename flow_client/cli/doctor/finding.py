"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flow_client.cli import exits

CHECKS = {
    "threads": exits.CONFIGURATION,
    "gevent": exits.CONFIGURATION,
    "fork": exits.CONFIGURATION,
    "dependencies": exits.CONFIGURATION,
    "profile": exits.CONFIGURATION,
    "settings": exits.CONFIGURATION,
    "token-source": exits.CONFIGURATION,
    "token-form": exits.NOT_AUTHORISED,
    "token-scope": exits.NOT_AUTHORISED,
    "token-expiry": exits.NOT_AUTHORISED,
    "proxy": exits.UNREACHABLE,
    "dns": exits.UNREACHABLE,
    "tls-chain": exits.UNREACHABLE,
    "tls-name": exits.UNREACHABLE,
    "tls-time": exits.UNREACHABLE,
    "api-reachable": exits.UNREACHABLE,
    "api-login": exits.NOT_AUTHORISED,
    "api-answers": exits.UNREACHABLE,
    "api-holds": exits.UNREACHABLE,
    "clock": exits.CONFIGURATION,
    "nats-reachable": exits.UNREACHABLE,
    "nats-login": exits.NOT_AUTHORISED,
    "nats-round-trip": exits.UNREACHABLE,
    "nats-payload": exits.CONFIGURATION,
    "nats-streams": exits.CONFIGURATION,
    "nats-batches": exits.CONFIGURATION,
}
"""All checks in their order, each with the exit code if it fails. Their names do not change."""

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check has found.

    Attributes:
        name: the check's name.
        status: `ok`, `warning`, `failed`, or `skipped` if it could not be or need not be made.
        message: what was found, in a line.
        cure: what to do about it; None if there is nothing to be done.
    """

    name: str
    status: Status
    message: str
    cure: str | None = None

    @property
    def exit_code(self) -> int:
        """The exit code if this check has failed."""
        return CHECKS[self.name]


def ok(name: str, message: str) -> Finding:
    """Return the finding that all is well."""
    return Finding(name, "ok", message)


def failed(name: str, message: str, cure: str) -> Finding:
    """Return the finding that something is wrong."""
    return Finding(name, "failed", message, cure)


def warning(name: str, message: str, cure: str) -> Finding:
    """Return the finding that something may go wrong."""
    return Finding(name, "warning", message, cure)


def skipped(name: str, why: str) -> Finding:
    """Return that the check was not made."""
    return Finding(name, "skipped", why)
