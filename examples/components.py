"""A workflow, a code block, a transform and an agent: each call of one is a process of its own."""

import time
from typing import Any

from flow_client.worker import Result, Task


def word_report(task: Task) -> dict[str, Any]:
    """Count the words of each text with a code block, merge the counts, and have an agent write about them."""
    client, texts = task.client, task.input_data["texts"]
    handles = {name: client.submit_code_block_execution("count-words", {"text": texts[name]}) for name in texts}
    task.emit("message", {"text": f"counting {len(handles)} files"})
    counts = [{"name": name, "words": handle.result()} for name, handle in handles.items()]
    summary = client.execute_transform("merge-counts", counts, None)
    writer = client.submit_agent_execution("report-writer", summary)
    task.emit("message", {"text": "the agent writes", "execution_id": writer.execution_id})
    return {**summary, "report": writer.result()}


def count_words(task: Task) -> int:
    """Count the words of a text."""
    return len(task.input_data["text"].split())


def merge_counts(task: Task) -> dict[str, Any]:
    """Sort the counts, the largest first, and add them up."""
    counts = sorted(task.input_data, key=lambda each: (-each["words"], each["name"]))
    return {"counts": counts, "total": sum(each["words"] for each in counts)}


def write_report(task: Task) -> Result:
    """Say in a few sentences what the counts show, in chunks as a language model would."""
    counts, total = task.input_data["counts"], task.input_data["total"]
    longest, shortest = counts[0], counts[-1]
    text = (
        f"The {len(counts)} files have {total} words, {total // len(counts)} on average. "
        f"The longest is {longest['name']} with {longest['words']}, "
        f"the shortest {shortest['name']} with {shortest['words']}."
    )
    for chunk in text.split(" "):
        task.emit("chunk", {"text": f"{chunk} "})
        time.sleep(0.05)
    task.emit("done", {})
    return Result(text, usage={"output_tokens": len(text.split())})
