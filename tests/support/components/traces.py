"""A component that reports what it finds in its process, and then leaves a mark in all of it."""

# ruff: noqa: PTH208, PTH115, PTH109

import atexit
import builtins
import decimal
import gc
import json
import logging
import os
import random
import resource
import signal
import socket
import stat
import sys
import tempfile
import threading
import types
import warnings
from pathlib import Path

MARKS = []
SEED = random.random()


def traces(_task):
    """Return what is here: what all processes have in common, and what no two have."""
    found = {"same": _found(), "random": [SEED, random.random()], "leads_session": os.getsid(0) == os.getpid()}
    _leave_marks()
    return found


def _found():
    return {
        "globals": list(MARKS),
        "modules": [*sorted(name for name in sys.modules if name.startswith("mark")), hasattr(json, "mark")],
        "builtins": hasattr(builtins, "mark"),
        "environment": sorted(name for name in os.environ if name.startswith("MARK")),
        "main": [sys.modules["__main__"].__spec__.name, Path(sys.modules["__main__"].__file__).name],
        "arguments": [sys.argv[1:], sys.orig_argv[1:]],
        "path": sys.path,
        "folder": os.getcwd(),
        "umask": _umask(),
        "handlers": [str(signal.getsignal(number)).split(" at ")[0] for number in sorted(signal.valid_signals())],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "threads": [threading.active_count(), len(os.listdir("/proc/self/task"))],
        "descriptors": _descriptors(),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "nice": os.nice(0),
        "collector": [gc.isenabled(), gc.get_threshold()],
        "warnings": ("ignore", None, Warning, None, 0) in warnings.filters,
        "logging": [logging.getLogger().level, len(logging.getLogger().handlers)],
        "timeout": socket.getdefaulttimeout(),
        "precision": decimal.getcontext().prec,
        "temporary": tempfile.gettempdir(),
        "atexit": atexit._ncallbacks() < 50,
        "trace": [sys.gettrace() is None, threading.current_thread() is threading.main_thread()],
        "limit": sys.getrecursionlimit(),
    }


def _umask():
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _descriptors():
    kinds = {}
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            mode = os.fstat(number).st_mode
        except OSError:  # the listing's own
            continue
        kinds[number] = stat.filemode(mode)[0] if number > 2 else os.readlink(f"/proc/self/fd/{number}").split("/")[1]
    return sorted(kinds.items())


def _leave_marks():
    MARKS.append("mark")
    sys.modules["mark"] = types.ModuleType("mark")
    json.mark = builtins.mark = "mark"
    os.environ["MARK"] = "mark"
    sys.argv.append("mark")
    sys.path.insert(0, "mark")
    os.chdir("/")
    os.umask(0o777)
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGCHLD, signal.SIGTERM])
    signal.setitimer(signal.ITIMER_REAL, 3600)
    threading.Thread(target=threading.Event().wait, daemon=True).start()
    for descriptor in (os.open("/dev/null", os.O_RDONLY), *os.pipe()):
        os.set_inheritable(descriptor, True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.nice(1)
    gc.disable()
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(1)
    socket.setdefaulttimeout(3600)
    decimal.getcontext().prec = 3
    tempfile.tempdir = "/mark"
    for _ in range(50):
        atexit.register(int)
    sys.setrecursionlimit(5000)
    random.seed(1)
