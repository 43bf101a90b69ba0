"""A TCP relay in a process of its own, between a client and a server on this machine.

    python relay.py TARGET_PORT DELAY

Every byte is passed on DELAY seconds after it came, in each direction; how many are under way is not limited, so the
delay costs no throughput. The first line on standard output is the relay's port. Then it reads commands, one a line,
and answers each with `ok`: `cut` resets all connections, `strand` resets the client that publishes next and passes on
what it had sent right before what is published after that, `freeze` stops passing anything on until `thaw`. It ends
when its standard input does.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import socket
import struct
import subprocess
import sys
from collections import deque

HOST = "127.0.0.1"
END_TIMEOUT = 5.0
HEAD_START = 0.2
# How NATS begins a message with headers.
_PUBLISHED = b"HPUB "
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Relay:
    """The relay's process, seen from the test: a context manager.

    Args:
        target_port: the port of the server.
        delay: seconds that each byte takes in each direction; half a round trip.
    """

    def __init__(self, target_port: int, delay: float = 0.0) -> None:
        self._command = [sys.executable, "-I", __file__, str(target_port), str(delay)]
        self._process: subprocess.Popen | None = None
        self.port = 0

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(self, *exc):
        with self._process as process:
            process.stdin.close()
            try:
                process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()

    def cut(self):
        """Reset all connections, what is under way in them included."""
        self._tell("cut")

    def strand(self):
        """Reset the next client that publishes; what it had sent arrives right before what is published after that."""
        self._tell("strand")

    def freeze(self):
        """Pass nothing on; connections stay open, and new ones are accepted."""
        self._tell("freeze")

    def thaw(self):
        """Pass on what was held back, and everything that follows."""
        self._tell("thaw")

    def _tell(self, command):
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if answer != "ok\n":
            raise RuntimeError(f"the relay answered {answer!r} to {command!r}")


class _Side(asyncio.Protocol):
    """One of the two connections that are tied together."""

    def __init__(self, switch: _Switch) -> None:
        self._switch = switch
        self._under_way: deque[bytes] = deque()
        self.peer: _Side | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport):
        self.transport = transport
        self._switch.sides.add(self)
        # Not at once: Python 3.10 begins to read behind this, whether it was paused here or not.
        asyncio.get_running_loop().call_soon(self._wait_to_read)

    def _wait_to_read(self):
        if self._switch.frozen or self.peer is None:
            self.transport.pause_reading()

    def data_received(self, data):
        # The oldest goes first, whichever timer fires first.
        self._under_way.append(data)
        self._switch.after_the_delay(self._pass_on)

    def _pass_on(self):
        if self.peer is not None and self._under_way:
            self.peer.transport.write(self._under_way.popleft())

    def reset(self):
        """Close the connection so that the other end sees a reset."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def pause_writing(self):
        self.peer.transport.pause_reading()

    def resume_writing(self):
        if not self._switch.frozen:
            self.peer.transport.resume_reading()

    def connection_lost(self, exc):
        self._switch.sides.discard(self)
        if self.peer is not None:
            self._switch.after_the_delay(self.peer.transport.close)


class _ClientSide(_Side):
    """The connection that a client opened; nothing is read from it until the server answers."""

    def __init__(self, switch):
        super().__init__(switch)
        self._is_stranded = False

    def data_received(self, data):
        super().data_received(data)
        if self._switch.strands_next and _PUBLISHED in data:
            self._switch.strands_next = False
            self._switch.stranded.append(self)
            self._is_stranded = True
            self.reset()

    def arrive(self):
        """Pass on all that was held back."""
        if self.peer is not None:
            self.peer.transport.writelines(self._under_way)
        self._under_way.clear()

    def _pass_on(self):
        if self._is_stranded or self in self._switch.held:
            return
        if self._switch.stranded and self._under_way and _PUBLISHED in self._under_way[0]:
            self._switch.let_the_stranded_arrive_before(self)
        else:
            super()._pass_on()

    def connection_lost(self, exc):
        if self._is_stranded:
            self._switch.sides.discard(self)
        else:
            super().connection_lost(exc)

    def connection_made(self, transport):
        super().connection_made(transport)
        self._switch.run(self._connect())

    async def _connect(self):
        server_side = _Side(self._switch)
        server_side.peer = self
        try:
            await asyncio.get_running_loop().create_connection(lambda: server_side, HOST, self._switch.target_port)
        except OSError:
            self.transport.abort()
            return
        self.peer = server_side
        if self.transport.is_closing():
            server_side.transport.abort()
        elif not self._switch.frozen:
            self.transport.resume_reading()


class _Switch:
    """All connections of the relay, and what the commands do to them."""

    def __init__(self, target_port: int, delay: float) -> None:
        self.target_port = target_port
        self._delay = delay
        self._tasks: set[asyncio.Task] = set()
        self.sides: set[_Side] = set()
        self.strands_next = False
        self.stranded: list[_ClientSide] = []
        self.held: set[_ClientSide] = set()
        self.frozen = False

    def after_the_delay(self, action):
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, action)
        else:
            action()

    def run(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cut(self):
        for side in list(self.sides):
            side.reset()

    def strand_next(self):
        self.strands_next = True

    def let_the_stranded_arrive_before(self, side):
        for stranded in self.stranded:
            stranded.arrive()
        self.stranded.clear()
        self.held.add(side)
        asyncio.get_running_loop().call_later(HEAD_START, self._release, side)

    def _release(self, side):
        self.held.discard(side)
        side.arrive()

    def freeze(self):
        self.frozen = True
        for side in self.sides:
            side.transport.pause_reading()

    def thaw(self):
        self.frozen = False
        for side in self.sides:
            if side.peer is not None:
                side.transport.resume_reading()


async def _serve(target_port, delay):
    switch = _Switch(target_port, delay)
    commands = {"cut": switch.cut, "strand": switch.strand_next, "freeze": switch.freeze, "thaw": switch.thaw}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _ClientSide(switch), HOST, 0)
    _say(server.sockets[0].getsockname()[1])
    while line := await _next_line():
        commands[line.strip()]()
        await asyncio.sleep(0)  # an aborted connection is closed in the loop's next turn
        _say("ok")


async def _next_line():
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, readable.set)
    await readable.wait()
    loop.remove_reader(sys.stdin)
    return sys.stdin.readline()


def _say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def _main():
    # select() waits to the microsecond, epoll() to the millisecond: too coarse for a delay of 2.5 ms.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with contextlib.suppress(KeyboardInterrupt):
        loop.run_until_complete(_serve(int(sys.argv[1]), float(sys.argv[2])))


if __name__ == "__main__":
    _main()
