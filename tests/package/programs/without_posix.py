"""Uses the client where nothing of POSIX is there: its modules cannot be imported, its functions do not exist.

Only a real Windows proves that the client works there. This proves that nothing of ours asks for what Windows lacks.
"""

import asyncio
import concurrent.futures
import faulthandler
import importlib
import json
import os
import select
import selectors
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# These are at home on Windows too, by ways of their own.
import nats
import nats.js
import pydantic
import requests
import tenacity
import tqdm

POSIX_MODULES = ("_posixsubprocess", "crypt", "curses", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline")
POSIX_MODULES += ("resource", "spwd", "syslog", "termios", "tty")
SIGNALS_OF_WINDOWS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}
SIGNAL_OF_WINDOWS = {"signal", "getsignal", "raise_signal", "set_wakeup_fd", "strsignal", "valid_signals"}
SIGNAL_OF_WINDOWS |= {"default_int_handler", "NSIG", "Signals", "Handlers", *SIGNALS_OF_WINDOWS}
OF_POSIX = {
    os: "fork forkpty register_at_fork kill killpg setsid getsid setpgid getpgid getpgrp getuid geteuid getgid getegid "
    "getgroups setuid setgid wait wait3 wait4 waitid WNOHANG uname nice openpty chown lchown fchown fchmod mkfifo "
    "mknod getloadavg pipe2 posix_spawn posix_spawnp sendfile sysconf confstr pathconf set_blocking get_blocking "
    "sched_yield sched_getaffinity pidfd_open O_CLOEXEC O_NONBLOCK O_NOCTTY O_NOFOLLOW O_DIRECTORY ctermid sync "
    "fdatasync pread pwrite readv writev lockf environb getenvb tcgetpgrp tcsetpgrp",
    socket: "SO_REUSEPORT MSG_DONTWAIT MSG_NOSIGNAL CMSG_LEN SCM_RIGHTS send_fds recv_fds",
    select: "poll epoll kqueue",
    selectors: "PollSelector EpollSelector KqueueSelector DevpollSelector",
    time: "clock_gettime clock_settime clock_getres pthread_getcpuclockid tzset CLOCK_MONOTONIC CLOCK_REALTIME",
    faulthandler: "register unregister",
}
LIBRARIES = (asyncio, concurrent.futures, nats.js, pydantic, requests, ssl, subprocess, tempfile, tenacity, tqdm)


def take_posix_away():
    for name in POSIX_MODULES:
        sys.modules[name] = None
    for module, names in OF_POSIX.items():
        for name in names.split():
            vars(module).pop(name, None)
    for name in [name for name in dir(os) if name.startswith(("EX_", "SCHED_", "W", "P_"))]:
        delattr(os, name)
    for name in [name for name in dir(signal) if not name.startswith("_") and name not in SIGNAL_OF_WINDOWS]:
        delattr(signal, name)
    selectors.DefaultSelector = selectors.SelectSelector


def import_all():
    """Import every module of the package but those of the local platform, which needs POSIX."""
    folder = Path(importlib.util.find_spec("flow_client").submodule_search_locations[0])
    paths = [path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py")]
    names = sorted(".".join(path.parts).removesuffix(".__init__") for path in paths if "local" not in path.parts)
    for name in names:
        importlib.import_module(name)
    return names


def main():
    assert "flow_client" not in sys.modules
    take_posix_away()
    imported = import_all()
    from flow_client import NatsBridge, PlatformClient, worker  # noqa: PLC0415 - it is imported above
    from flow_client.worker.__main__ import main as command  # noqa: PLC0415 - as above

    http_url, nats_url, execution_id = sys.argv[1:]
    with PlatformClient(http_url, "t-1", "org-1", "ws-1", nats_url=nats_url) as client:
        call = client.get_execution_status("e-1").status
        future = client.execution("e-1").future().result(30).status
        mapped = [record.status for record in client.map(client.execution, ["e-1"])]
    code = worker.run("builtins:id", execution_id=execution_id, nats_url=nats_url)
    with NatsBridge(nats_url) as bridge:
        bridge.push_execution_event(None, execution_id, "done", 1)
        events = [event.event_type for event in bridge.events(execution_id)]
    rehearsed = command(["builtins:id", "--input", "{}"])
    found = [call, future, *mapped, code, events, rehearsed]
    sys.stdout.write(json.dumps({"imported": imported, "found": found}))


main()
