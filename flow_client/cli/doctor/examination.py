"""Makes all checks within three seconds, whatever hangs."""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from flow_client.cli.doctor import api_checks, nats_checks, process_checks, settings_checks
from flow_client.cli.doctor.finding import CHECKS, failed, skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flow_client.cli.doctor.finding import Finding

TIME_LIMIT = 2.7
"""Seconds for what talks to others: with what comes before and after, three seconds at the most."""


def examine(*, execution_id: str | None = None, **arguments: Any) -> list[Finding]:
    """Make all checks and return what they found, in the order of their names in `CHECKS`.

    Nothing is started or changed on the platform.

    Args:
        execution_id: an execution that may be asked about.
        arguments: settings as for `PlatformClient`: `profile`, `base_url`, `org_id`, `workspace_id`, `nats_url`,
            `timeout`. Those that are missing come from the environment and the profile.
    """
    # What is said about threads is said before there are any of ours.
    findings = list(process_checks.check())
    situation, found = settings_checks.check(arguments)
    findings += found
    talks = [_Talk(api_checks.NAMES, partial(api_checks.check, situation, execution_id))]
    talks.append(_Talk(nats_checks.NAMES, partial(nats_checks.check, situation)))
    end = time.monotonic() + TIME_LIMIT
    for talk in talks:
        talk.start()
    for talk in talks:
        findings += talk.findings(end)
    order = list(CHECKS)
    return sorted(findings, key=lambda finding: order.index(finding.name))


class _Talk:
    """Checks that are made one after another in a thread of their own: each of them may hang."""

    def __init__(self, names: Iterable[str], checks: Callable[[], Iterator[Finding]]) -> None:
        self._names = names
        self._checks = checks
        self._found: list[Finding] = []
        self._is_over = threading.Event()
        self._is_refused = False

    def start(self) -> None:
        try:
            threading.Thread(target=self._run, name="flow-client-doctor", daemon=True).start()
        except RuntimeError:  # the check of threads has said so
            self._is_refused = True
            self._is_over.set()

    def _run(self) -> None:
        try:
            for finding in self._checks():
                self._found.append(finding)
        finally:
            self._is_over.set()

    def findings(self, end: float) -> list[Finding]:
        """Return what was found until `end`, a moment of the monotonic clock."""
        self._is_over.wait(max(0.0, end - time.monotonic()))
        found = list(self._found)
        left = [name for name in self._names if name not in {finding.name for finding in found}]
        if self._is_refused or not left:
            return [*found, *(skipped(name, "threads come first") for name in left)]
        hangs = failed(left[0], f"it is not done after {TIME_LIMIT:g} s", "what it asks does not answer: find out why")
        return [*found, hangs, *(skipped(name, f"{left[0]} comes first") for name in left[1:])]
