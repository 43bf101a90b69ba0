"""Run a workflow on a platform of this machine's own: `make demo`, or `python examples/quickstart.py`."""

import threading
from pathlib import Path
from typing import Any

from flow_client import ExecutionHandle, NatsBridge
from flow_client.local import LocalPlatform

HERE = Path(__file__).parent
REPOSITORY = HERE.parent


def main() -> None:
    with LocalPlatform(HERE / "components.toml") as platform, platform.client() as client:
        print(f"platform  {platform.base_url}")
        handle = client.submit_workflow_execution("word-report", {"texts": texts()})
        print(f"workflow  {handle.execution_id}")
        watcher = threading.Thread(target=print_status_changes, args=[handle])
        watcher.start()
        with NatsBridge(platform.nats_url) as bridge:
            follow(bridge, handle.execution_id)
        watcher.join()
        print_table(handle.result())


def texts() -> dict[str, str]:
    """Return the text files of this repository by name."""
    paths = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), REPOSITORY / "LICENSE"])
    return {str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8") for path in paths}


def print_status_changes(handle: ExecutionHandle) -> None:
    """Print the workflow's status each time it is another one."""
    pause, last = threading.Event(), None
    while last is None or not last.is_terminal:
        record = handle.status()
        if last is None or record.status != last.status:
            print(f"status    {record.status}")
        last = record
        pause.wait(0.05)


def follow(bridge: NatsBridge, execution_id: str) -> None:
    """Print the workflow's messages, and what the agent that it speaks of streams."""
    for event in bridge.events(execution_id):
        print(f"message   {event.event_data['text']}")
        if "execution_id" in event.event_data:
            print("agent     ", end="")
            for chunk in bridge.events(event.event_data["execution_id"]):
                print(chunk.event_data.get("text", "\n"), end="", flush=True)


def print_table(result: dict[str, Any]) -> None:
    print()
    for row in [*result["counts"], {"name": "total", "words": result["total"]}]:
        print(f"{row['words']:>8}  {row['name']}")


if __name__ == "__main__":
    main()
