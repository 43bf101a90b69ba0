"""A storm of signals on one client: what their handler raises comes out at once, and no answer is mixed up.

Run as `storm.py KIND SECONDS`. In a storm of the kind `call` the handler raises nothing but uses the same client.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter

import psutil
from answers import is_right, report
from urllib3 import HTTPResponse

from flow_client import PlatformClient
from flow_client._waiting.polling import PollLoop

WAIT = PollLoop.run.__code__
FINALIZER = HTTPResponse.closed.fget.__code__
"""What the finalizer of a response calls. It drops what is raised there, and nobody can tell."""
FEWEST = 20
"""Signals at the least, however busy the machine is."""
PATIENCE = 2.0
"""Seconds after which an exception that did not come out counts as swallowed."""


class SoftTimeLimit(Exception):  # noqa: N818 - as Celery's SoftTimeLimitExceeded and RQ's JobTimeoutException
    """Derives from nothing that a network library raises."""


class Swallowed(BaseException):
    """The patience is over."""


KINDS = {
    "plain": SoftTimeLimit,
    "time-out": TimeoutError,
    "value": ValueError,
    "system": ConnectionResetError,
    "exit": SystemExit,
    "interrupt": KeyboardInterrupt,
}


def calls(client, name):
    while True:
        for number in range(10):
            if not is_right(client, f"{name}-{number}"):
                counts["wrong"] += 1


def fresh(_, name):
    with PlatformClient() as client:
        calls(client, name)


WAYS = {
    "calls": calls,
    "status": lambda client, name: client.execution(f"hole-{name}").status(),
    "wait": lambda client, name: client.execution(f"running-{name}").wait(),
    "held wait": lambda client, name: client.execution(f"hole-{name}").wait(),
    "result": lambda client, name: client.execution(f"running-{name}").result(),
    "await": lambda client, name: client.await_execution_result(f"running-{name}"),
    "paced": lambda client, name: client.await_execution_result(f"running-{name}", poll_interval_seconds=0.0001),
    "broken": lambda client, name: client.await_execution_result(f"cut-{name}", poll_interval_seconds=0.0001),
    "code block": lambda client, name: client.execute_code_block(f"running-{name}", {}, None, ring_id="r-1"),
    "workflow": lambda client, name: client.execute_workflow(f"running-{name}", {}, ring_id="r-1"),
    "agent": lambda client, name: client.execute_agent(f"running-{name}", {}, None, "isolated", ring_id="r-1"),
    "future": lambda client, name: client.execution(f"running-{name}").future().result(),
    "fresh": fresh,
}

met: list[str] = []
"""Where the signal met the program, for who reads a failure."""
counts: Counter[str] = Counter()
ways: Counter[str] = Counter()
raised_at = 0.0
waiting = in_finalizer = False


def is_under(frame, code):
    """Return whether a function is among those that the signal met."""
    while frame is not None and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


def raising(kind):
    def handle(signum, frame):
        global raised_at, waiting, in_finalizer
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)
        if raised_at:
            raise Swallowed
        raised_at, waiting, in_finalizer = time.monotonic(), is_under(frame, WAIT), is_under(frame, FINALIZER)
        met[:] = traceback.format_stack(frame)
        raise kind("the time is up")

    return handle


def interrupted(client, kind, way, name):
    """Use the client in one way until a signal comes, and count how its exception came out."""
    global raised_at  # noqa: PLW0603 - as above
    raised_at = 0.0
    try:
        signal.setitimer(signal.ITIMER_REAL, random.choice((random.uniform(0.00005, 0.004), random.uniform(0, 0.02))))
        WAYS[way](client, name)
    except kind as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        counts["late"] += time.monotonic() - raised_at > 1
        counts["foreign"] += type(error) is not kind or not raised_at
        counts["unsaid"] += waiting and not any(name in note for note in getattr(error, "__notes__", ()))
    except BaseException as error:  # noqa: BLE001 - counted
        signal.setitimer(signal.ITIMER_REAL, 0)
        if in_finalizer:
            counts["in a destructor"] += 1
            return
        counts["swallowed"] += 1
        log(f"{way}: {error!r} in place of what the handler raised at\n{''.join(met)}")
    finally:
        counts["signals"] += 1
        ways[way] += 1


def lost(unraisable):
    """Send the signal again if its exception hit a destructor, where Python tells of it and goes on."""
    global raised_at  # noqa: PLW0603 - as above
    counts["unraisable"] += 1
    if isinstance(unraisable.exc_value, KINDS[sys.argv[1]]):
        counts["in a destructor"] += 1
        raised_at = 0.0
        signal.setitimer(signal.ITIMER_REAL, 0.001)


def storm_of_exceptions(client, kind, end):
    signal.signal(signal.SIGALRM, raising(kind))
    sys.unraisablehook = lost
    # Python drops what is raised while garbage is collected, so it is collected between the signals.
    gc.disable()
    number = 0
    while time.monotonic() < end or counts["signals"] <= FEWEST:
        faulthandler.dump_traceback_later(20, exit=True)
        gc.collect(0)
        number += 1
        interrupted(client, kind, random.choice(list(WAYS)), f"n{number}n")


def storm_of_calls(client, end):
    """The handler makes calls of its own, with retries and futures, in the middle of the same."""

    def handle(*_):
        counts["signals"] += 1
        use(client, f"inner-{counts['signals']}", 25)
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.004))

    signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while time.monotonic() < end or counts["signals"] <= FEWEST:
        faulthandler.dump_traceback_later(20, exit=True)
        counts["calls"] += 1
        use(client, f"outer-{counts['calls']}", 50)
    signal.setitimer(signal.ITIMER_REAL, 0)


def use(client, name, rarity):
    counts["wrong"] += not is_right(client, name)
    chance = random.randrange(rarity)
    if chance == 0:
        counts["wrong"] += not is_right(client, f"flaky-{name}")
    if chance == 1:
        counts["wrong"] += client.execution(name).future().result().output != f"output of {name}"
    if chance == 2:
        counts["wrong"] += client.execution(name).wait().output != f"output of {name}"


def log(text):
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for who reads a failure


def main():
    kind, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    client = PlatformClient()
    logging.getLogger("flow_client").setLevel(logging.CRITICAL)
    is_right(client, "warm-1")
    files = psutil.Process().num_fds()
    end = time.monotonic() + seconds
    if kind == "call":
        storm_of_calls(client, end)
    else:
        storm_of_exceptions(client, KINDS[kind], end)
    faulthandler.dump_traceback_later(20, exit=True)
    usable = sum(is_right(client, f"after-{number}") for number in range(10))
    client.close()
    over = time.monotonic() + 10
    while threading.active_count() > 1 and time.monotonic() < over:
        time.sleep(0.02)  # lanes give up what they have sent within half a second
    gc.collect()
    more_files = psutil.Process().num_fds() - files
    report({**counts, "usable": usable, "threads": threading.active_count(), "more_files": more_files, "ways": ways})


main()
