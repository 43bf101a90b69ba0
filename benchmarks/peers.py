"""The same call by others: an execution's status, with a token, as an object."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import requests

from flow_client import PlatformClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "t-1"
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
ORGANISATION = "2b2f6f6e-6a0e-4b7e-9a44-8d2c1f0f2f11"
WORKSPACE = "8c1d9c1c-51f5-4f0a-8a3f-0d4b0a8e7c22"
EXECUTION = "call-5f0e7b5a-93f3-4be8-b7a0-57a3bb1f1d33"


def client(url: str, nats_url: str | None = None) -> PlatformClient:
    return PlatformClient(url, TOKEN, ORGANISATION, WORKSPACE, nats_url=nats_url)


def status_url(url: str) -> str:
    return f"{url}/api/v1/orgs/{ORGANISATION}/workspaces/{WORKSPACE}/executions/{EXECUTION}"


@contextmanager
def callers(url: str) -> Iterator[dict[str, Callable[[], Any]]]:
    """Give one call by each of us, on connections that stay open as long as each can keep them."""
    target = status_url(url)
    with ExitStack() as stack:
        ours = stack.enter_context(client(url))
        session = stack.enter_context(requests.Session())
        httpx_client = stack.enter_context(httpx.Client())

        async def get() -> Any:
            async with httpx.AsyncClient() as each:
                return (await each.get(target, headers=HEADERS)).json()

        yield {
            "ours": lambda: ours.get_execution_status(EXECUTION),
            "requests": lambda: session.get(target, headers=HEADERS).json(),
            "httpx": lambda: httpx_client.get(target, headers=HEADERS).json(),
            "httpx.AsyncClient": lambda: asyncio.run(get()),
        }
