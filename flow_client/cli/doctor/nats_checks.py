"""Checks of NATS: the way there, the login, and what is there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flow_client._api._generated import operations
from flow_client._nats.servers import resolve_servers
from flow_client.cli.doctor.finding import failed, ok, skipped, warning
from flow_client.errors import BridgeError, BridgeTimeoutError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flow_client._nats.probe import NatsProbe, StreamProbe
    from flow_client._nats.servers import Servers
    from flow_client.cli.doctor.finding import Finding
    from flow_client.cli.doctor.situation import Situation

NAMES = ("nats-reachable", "nats-login", "nats-round-trip", "nats-payload", "nats-streams", "nats-batches")
CONNECT_SECONDS = 0.7
LOGIN_SECONDS = 1.0
LONGEST_ROUND_TRIP = 0.25
USUAL_PAYLOAD = 1 << 20
_SUBJECTS = (
    operations.EXECUTION_INPUT_SUBJECT,
    operations.EXECUTION_OUTPUT_SUBJECT,
    operations.EXECUTION_EVENT_SUBJECT,
    operations.EXECUTION_STATUS_UPDATE_SUBJECT,
)
_INFO = b"INFO "


def check(situation: Situation) -> Iterator[Finding]:
    """Yield what was found."""
    if situation.nats_url is None:
        yield from _skip(NAMES, "there is no NATS_URL: events are not shown, and waits go over HTTP")
        return
    try:
        servers = resolve_servers(situation.nats_url)
    except ConfigurationError as error:
        yield failed("nats-reachable", str(error), "set NATS_URL, and the variables that name files")
        yield from _skip(NAMES[1:], "the settings come first")
        return
    finding = _reachable(servers)
    yield finding
    if finding.status == "failed":
        yield from _skip(NAMES[1:], "no server can be reached")
        return
    yield from _logged_in(servers)


def _reachable(servers: Servers) -> Finding:
    problems = {url: _problem(url) for url in servers.urls}
    wrong = [f"{url}: {problem}" for url, problem in problems.items() if problem is not None]
    cure = "is a NATS server running there, and does a firewall let you through?"
    if len(wrong) == len(problems):
        return failed("nats-reachable", "; ".join(wrong), cure)
    if wrong:
        return warning("nats-reachable", f"some servers cannot be reached: {'; '.join(wrong)}", cure)
    return ok("nats-reachable", f"{servers} can be reached")


def _problem(url: str) -> str | None:
    """Return why there is no NATS server at a URL, None if there is one."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), CONNECT_SECONDS) as connection:
            greeting = connection.recv(len(_INFO))
    except TimeoutError:
        return "no answer came in time"
    except OSError as error:
        return error.strerror or str(error)
    return None if greeting == _INFO else "what answers is no NATS server"


def _logged_in(servers: Servers) -> Iterator[Finding]:
    from flow_client._nats.probe import probe

    try:
        seen = probe(servers, [subject.format(execution_id="doctor") for subject in _SUBJECTS], LOGIN_SECONDS)
    except BridgeTimeoutError as error:
        yield failed("nats-login", str(error), "the server is there but does not answer: look at its log")
        yield from _skip(NAMES[2:], "the login comes first")
    except BridgeError as error:
        cure = "check user and password in NATS_URL, NATS_CREDS or NATS_NKEY_SEED, and whether it speaks TLS"
        yield failed("nats-login", str(error), cure)
        yield from _skip(NAMES[2:], "the login comes first")
    else:
        yield ok("nats-login", "the server takes the client")
        yield from _looked_at(seen)


def _looked_at(seen: NatsProbe) -> Iterator[Finding]:
    yield _round_trip(seen.round_trip)
    yield _payload(seen.max_payload)
    yield _streams(seen.streams)
    yield _batches(seen.streams)


def _round_trip(seconds: float) -> Finding:
    message = f"a round trip takes {1000 * seconds:.1f} ms"
    if seconds <= LONGEST_ROUND_TRIP:
        return ok("nats-round-trip", message)
    return warning("nats-round-trip", message, "run closer to the server; outputs and statuses wait for one each")


def _payload(limit: int) -> Finding:
    message = f"a message may have {limit} bytes"
    if limit >= USUAL_PAYLOAD:
        return ok("nats-payload", message)
    cure = f"raise the server's max_payload to {USUAL_PAYLOAD}, or keep inputs, events and outputs small"
    return warning("nats-payload", f"{message}, less than the usual {USUAL_PAYLOAD}", cure)


def _streams(streams: tuple[StreamProbe, ...]) -> Finding:
    unknown = [stream for stream in streams if stream.problem is not None]
    if unknown:
        message = f"the streams cannot be looked up: {unknown[0].problem}"
        return failed("nats-streams", message, "is JetStream on, and may this user read $JS.API?")
    missing = [stream.subject.replace("doctor", "*") for stream in streams if stream.name is None]
    if missing:
        message = f"no stream takes {', '.join(missing)}"
        return failed(
            "nats-streams", message, "the platform's operators have to create them; is this the right account?"
        )
    return ok("nats-streams", f"{', '.join(str(stream.name) for stream in streams)} are there")


def _batches(streams: tuple[StreamProbe, ...]) -> Finding:
    """Say how events are published: both ways work."""
    events = next((stream for stream in streams if stream.subject.startswith("exec.events")), None)
    if events is None or events.name is None:
        return skipped("nats-batches", "the stream of events is not known")
    if events.takes_batches:
        return ok("nats-batches", f"{events.name} takes batches: events are published fast")
    return ok(
        "nats-batches", f"{events.name} takes single messages (allow_batched is off): events are published plainly"
    )


def _skip(names: tuple[str, ...], why: str) -> Iterator[Finding]:
    return (skipped(name, why) for name in names)
