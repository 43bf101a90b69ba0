"""Where publishing goes on and faults happen: a server behind a relay, or a cluster."""

from __future__ import annotations

import contextlib
import random
import time

from chaos.findings import compare, read, wrong_sequence
from chaos.writers import STEADY, BridgeWriter, RawWriter
from support.cluster import NatsCluster
from support.freezing import frozen
from support.jetstream import create_streams
from support.relay import Relay

from flow_client.local.nats_server import NatsServer
from flow_client.local.state.streams import EVENT_STREAM

WARM_UP = 0.5
SETTLE = 1.0
_POLL_SECONDS = 0.1

REFERENCES = {"reference, with retry": True, "reference": False}


class Server:
    """One real nats-server with the contract's streams. Clients come through a relay if it is `relayed`."""

    def __init__(self, folder, mode, *, relayed=False):
        self._mode = mode
        self._relayed = relayed
        self._server = NatsServer(folder)
        self._relay = None

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._server)
            create_streams(self._server.url, self._mode)
            self._relay = stack.enter_context(Relay(self._server.port)) if self._relayed else None
            self._running = stack.pop_all()
        return self

    def __exit__(self, *exc):
        self._running.close()

    @property
    def url(self):
        """Where clients connect to."""
        port = self._relay.port if self._relay else self._server.port
        return self._server.url.replace(f":{self._server.port}", f":{port}")

    def settle(self):
        """Return when what is stored can be read."""

    def kill(self):
        """Kill the server and start it again on the same store."""
        self._server.kill()
        self._server.start()

    def freeze(self, seconds=None):
        """Stop the server for some seconds, 2 to 4 if None, as a machine does that swaps or moves."""
        with frozen(self._server.pid):
            time.sleep(random.uniform(2, 4) if seconds is None else seconds)

    def cut(self):
        """Reset all connections."""
        self._relay.cut()


class Cluster:
    """Three real nats-servers with the contract's streams in three replicas."""

    def __init__(self, folder, mode):
        self._cluster = NatsCluster(folder, mode)

    def __enter__(self):
        self._cluster.__enter__()
        return self

    def __exit__(self, *exc):
        self._cluster.__exit__(*exc)

    @property
    def url(self):
        """Where clients connect to."""
        return self._cluster.urls

    def settle(self):
        """Return when what is stored can be read."""
        self._cluster.wait_until_current()

    def kill_leader(self):
        """Kill the server that leads the events' stream, start it again, and return when all replicas are current."""
        leader = self._cluster.leader_of(EVENT_STREAM)
        while leader is None:
            time.sleep(_POLL_SECONDS)
            leader = self._cluster.leader_of(EVENT_STREAM)
        self._cluster.kill(leader)
        time.sleep(random.uniform(0, 1))
        self._cluster.restart(leader)
        self._cluster.wait_until_current()

    def step_down(self):
        """Have the leader of the events' stream hand over to another node."""
        self._cluster.step_down(EVENT_STREAM)


def perform(scene, faults, *, pause=(0.3, 0.7), references=True, pace=STEADY):
    """Publish in `scene` while `faults` happen one after the other.

    Args:
        scene: a Server or a Cluster.
        faults: functions that do one fault each.
        pause: the least and most seconds of quiet before a fault.
        references: whether raw nats-py publishes beside the bridge.
        pace: how fast the bridge's threads push.

    Returns:
        The findings of the bridge under "ours", and those of the references under their names.
    """
    writers = {"ours": BridgeWriter(scene.url, pace)}
    if references:
        writers |= {name: RawWriter(scene.url, retries=retries) for name, retries in REFERENCES.items()}
    accepted = _publish_during(writers, faults, pause)
    scene.settle()
    return {name: _findings(scene.url, name, accepted[name]) for name in writers}


def _publish_during(writers, faults, pause):
    for writer in writers.values():
        writer.start()
    try:
        time.sleep(WARM_UP)
        for fault in faults:
            time.sleep(random.uniform(*pause))
            fault()
        time.sleep(SETTLE)
    finally:
        accepted = {name: writer.finish() for name, writer in writers.items()}
    return accepted


def _findings(url, name, accepted):
    events = read(url, f"exec.events.{accepted.execution_id}")
    statuses = read(url, f"exec.status.{accepted.execution_id}")
    findings = compare(accepted, events, statuses)
    if name == "ours":
        findings.notes += wrong_sequence(events)
    return findings
