"""A blocking call where an event loop is running already."""

from __future__ import annotations

import asyncio

from answers import count_right, report

from flow_client import PlatformClient


async def main() -> None:
    with PlatformClient() as client:
        here = count_right(client, "here", 10)
        beside = await asyncio.gather(*(asyncio.to_thread(count_right, client, f"thread{n}", 10) for n in range(4)))
    report({"here": here, "beside": beside})


asyncio.run(main())
