"""A script that maps a batch under one key and writes down its results at the end; it may die at any moment."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

from flow_client import PlatformClient


def main(ring_id: str, inputs: int, results: Path) -> None:
    with PlatformClient() as client:
        count = partial(client.submit_code_block_execution, "count-words", ring_id=ring_id)
        texts = ({"text": "word " * number} for number in range(inputs))
        print("begun", flush=True)  # noqa: T201 - standard output is how the test is told
        records = client.map(count, texts, max_in_flight=4, key="nightly-2026-11-23")
        outputs = [record.raise_for_status().output for record in records]
    results.write_text(json.dumps(outputs))


main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
