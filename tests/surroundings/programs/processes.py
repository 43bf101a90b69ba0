"""multiprocessing: what a started process may do with a client."""

from __future__ import annotations

import multiprocessing
import sys

from answers import count_right, report

from flow_client import PlatformClient

PROCESSES = 3
CALLS = 20


def use_inherited(name: str) -> int:
    return count_right(client, name, CALLS)


def use_own(name: str) -> int:
    with PlatformClient() as own:
        return count_right(own, name, CALLS)


def use_given(given: PlatformClient) -> None:
    count_right(given, "given", CALLS)


def given_away(context: multiprocessing.context.SpawnContext) -> str:
    try:
        context.Process(target=use_given, args=(client,)).start()
    except TypeError as error:
        return str(error)
    return "it was taken"


if __name__ == "__main__":
    client = PlatformClient()
    count_right(client, "warm", 3)
    names = [f"process{number}" for number in range(PROCESSES)]
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(PROCESSES) as pool:
        right = pool.map(use_inherited if sys.argv[1] == "fork" else use_own, names, chunksize=1)
        pool.close()
        pool.join()
    report({"right": right, "given": given_away(context) if sys.argv[1] == "spawn" else None})
