"""A fork while another thread holds the token's lock: it is in the middle of asking for a new one."""

from __future__ import annotations

import os
import sys
import threading

from answers import is_right, report

from flow_client import PlatformClient

PARENT = os.getpid()
asking = threading.Event()
go_on = threading.Event()
asked: list[int] = []


def token() -> str:
    asked.append(os.getpid())
    if len(asked) == 1:
        return "stale"
    if os.getpid() == PARENT:
        asking.set()
        go_on.wait()
    return "fresh"


def main() -> None:
    client = PlatformClient(auth_token=token)
    right = []
    thread = threading.Thread(target=lambda: right.append(is_right(client, "parent-1")))
    thread.start()
    asking.wait()
    child = os.fork()
    if child == 0:
        sys.exit(0 if is_right(client, "child-1") else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    go_on.set()
    thread.join()
    report({"child": code, "parent": right, "asked": len(asked)})


main()
