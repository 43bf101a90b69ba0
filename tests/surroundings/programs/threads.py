"""Thirty-two threads share a client."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from answers import count_right, is_right, report

from flow_client import PlatformClient

THREADS = 32


def main() -> None:
    with PlatformClient() as client, ThreadPoolExecutor(THREADS) as pool:
        gathered = list(pool.map(lambda n: is_right(client, f"gather-{n}"), range(THREADS)))
        right = list(pool.map(lambda n: count_right(client, f"thread{n}", 30), range(THREADS)))
    report({"gathered": sum(gathered), "right": sum(right)})


main()
