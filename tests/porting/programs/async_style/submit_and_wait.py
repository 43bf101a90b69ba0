"""Submits, waits, and reads answers in every way that a dict can be read."""

import asyncio
import copy
import json
import logging
import os

from platform_client import PlatformClient, PlatformNotFoundError


def describe(execution_id, status, output=None, error=None, **more):
    return f"{status}: output={output} error={(error or {}).get('type')} more={sorted(more)}"


async def poll(client, execution_id):
    while True:
        record = await client.get_execution_status(execution_id)
        if record["status"].lower() not in ("pending", "queued", "running"):
            return record


async def main():
    async with PlatformClient() as client:
        handle = await client.submit_code_block_execution("count-words", {"text": "to be or not to be"})
        execution_id = handle["execution_id"]
        print(sorted(handle), handle.get("ring"), "status" in handle, handle == dict(handle))

        result = await client.await_execution_result(execution_id, timeout_seconds=60)
        print(result["status"], result.get("output"), result.get("tokens", 0), "output" in result, "tokens" in result)
        print(sorted(result), len(result) == len(list(result)), result == {**result}, result != {})
        print([key for key in result if key.endswith("_at")], result["created_at"][:2], type(result["created_at"]))
        print({name: type(value).__name__ for name, value in sorted(result.items())})
        print(describe(**result))
        print("%(status)s" % result, "{status}".format(**result), f"{result['output']['words']:>4}")  # noqa: UP031

        saved = json.loads(json.dumps(dict(result)))
        print(saved == result, result == saved, saved["created_at"] == result["created_at"])
        changed = result.copy()
        changed["status"] = "seen"
        changed.pop("output")
        print(result["status"], changed["status"], sorted(set(result) - set(changed)))
        print(sorted(result | {"mine": 1}), sorted({"mine": 1} | result), (result.get("error") or {}).get("message"))
        print(copy.deepcopy(result) == result, bool(result), str(result) == str(dict(result)))

        handle = await client.submit_workflow_execution("fail", {"n": 1}, ring_id=os.environ["RING_ID"])
        failed = await poll(client, handle["execution_id"])
        print(failed["status"], failed["error"]["type"], failed["error"]["message"], "output" in failed)
        match failed:
            case {"status": "completed", "output": output}:
                print("output", output)
            case {"status": status, "error": {"type": kind, **rest}}:
                print("matched", status, kind, sorted(rest))

        table = {}
        table.update(failed)
        print(list(table) == list(failed), max(failed, key=len))
        try:
            print(failed["no such field"])
        except KeyError as error:
            print("no", error.args[0])
        try:
            await client.get_execution_status("00000000-0000-0000-0000-000000000000")
        except PlatformNotFoundError as error:
            print("not found", error.status_code)


logging.basicConfig(level=logging.ERROR)
asyncio.run(main())
