"""Three nats-servers that are one cluster, and the contract's streams in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import time

from nats.errors import Error as NatsError
from support.jetstream import create_streams, with_jetstream

from flow_client.local.nats_server import NatsServer
from flow_client.local.state.streams import EVENT_STREAM, STREAMS

HOST = "127.0.0.1"
# A meta leader is elected after 4 to 9 s, now and then at the second attempt.
ELECTION_TIMEOUT = 60.0
_POLL_SECONDS = 0.05
_REQUEST_TIMEOUT = 1.0


class NatsCluster:
    """A cluster of real nats-servers on the loopback interface: a context manager.

    It stands when there is a meta leader and all replicas of the contract's streams are current. No server outlives
    this process.

    Args:
        folder: where the servers keep their streams, configurations and logs.
        mode: `batch` if the streams for events, output and status allow batched publishing, else `window`.
        size: how many servers; a stream has as many replicas.
    """

    def __init__(self, folder, mode="batch", size=3):
        token = secrets.token_urlsafe(24)
        routes = [f"nats://{HOST}:{port}" for port in _free_ports(size)]
        self._mode = mode
        self.nodes = [_Node(folder / f"n{n}", token, f"n{n}", route, routes) for n, route in enumerate(routes, 1)]

    @property
    def urls(self):
        """The addresses of all servers, separated by commas; a secret."""
        return ",".join(node.url for node in self.nodes)

    def leader_of(self, stream=EVENT_STREAM):
        """Return the node that leads the stream's replicas, None while there is no leader."""
        cluster = self._cluster_of(stream)
        return next((node for node in self.nodes if cluster and node.name == cluster.leader), None)

    def kill(self, node):
        """Kill a node as a crash would, and return when it is gone."""
        node.kill()

    def restart(self, node):
        """Start a node again, on the same ports and store, and return when it answers."""
        node.start()

    def step_down(self, stream=EVENT_STREAM):
        """Ask a stream's leader to hand over to another node, as an operator does before an upgrade."""
        self._ask(lambda js: js._nc.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", timeout=_REQUEST_TIMEOUT))

    def wait_until_current(self, timeout=ELECTION_TIMEOUT):
        """Return when every stream has a leader and all its replicas are current."""
        self._wait(lambda: all(self._is_current(config.name) for config in STREAMS), timeout)

    def __enter__(self):
        with contextlib.ExitStack() as nodes:
            for node in self.nodes:
                nodes.enter_context(node)
            self._wait(self._has_meta_leader, ELECTION_TIMEOUT)
            create_streams(self.urls, self._mode, replicas=len(self.nodes))
            self.wait_until_current()
            self._running = nodes.pop_all()
        return self

    def __exit__(self, *exc):
        self._running.close()

    def _has_meta_leader(self):
        # Only the meta leader answers this.
        return self._ask(lambda js: js.account_info()) is not None

    def _is_current(self, stream):
        cluster = self._cluster_of(stream)
        replicas = (cluster and cluster.leader and cluster.replicas) or []
        current = [replica for replica in replicas if replica.current and not replica.offline]
        return len(current) == len(self.nodes) - 1

    def _cluster_of(self, stream):
        info = self._ask(lambda js: js.stream_info(stream))
        return info and info.cluster

    def _ask(self, question):
        """Return the answer, None if there is nobody to give one."""
        try:
            return with_jetstream(self.urls, question, timeout=_REQUEST_TIMEOUT)
        except (NatsError, OSError, asyncio.TimeoutError):
            return None

    def _wait(self, holds, timeout):
        deadline = time.monotonic() + timeout
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the cluster was not ready after {timeout:g} s")
            time.sleep(_POLL_SECONDS)


class _Node(NatsServer):
    """One server of a cluster."""

    def __init__(self, folder, token, name, route, routes):
        super().__init__(folder, token)
        self.name = name
        self._route = route
        self._routes = routes

    def _write_config(self):
        path = super()._write_config()
        config = json.loads(path.read_bytes())
        config["server_name"] = self.name
        config["cluster"] = {
            "name": "chaos",
            "listen": self._route.removeprefix("nats://"),
            "routes": self._routes,
            "no_advertise": True,
        }
        path.write_text(json.dumps(config), encoding="utf-8")
        return path


def _free_ports(count):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in held]
