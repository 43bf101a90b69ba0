"""A script that maps a batch under one key and writes down its results at the end; it may die at any moment.

It prints a line for each input that is read and for each record that comes.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from flow_client import PlatformClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Item = TypeVar("Item")


def main(ring_id: str, inputs: int, results: Path) -> None:
    with PlatformClient() as client:
        count = partial(client.submit_code_block_execution, "count-words", ring_id=ring_id)
        texts = ({"text": "word " * number} for number in range(inputs))
        records = client.map(count, told(texts), max_in_flight=4, key="nightly-2026-11-23")
        outputs = [record.raise_for_status().output for record in told(records)]
    results.write_text(json.dumps(outputs))


def told(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        print("one more", flush=True)  # noqa: T201 - standard output is how the test is told
        yield item


main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
