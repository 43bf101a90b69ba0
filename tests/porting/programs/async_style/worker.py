"""Runs inside an execution: takes the input, reports what it does, and pushes the output."""

import asyncio
import os

from platform_client import PlatformClient

DEPLOYMENT_ID, EXECUTION_ID = os.environ["DEPLOYMENT_ID"], os.environ["EXECUTION_ID"]


async def work(client, given):
    data, messages = given["input_data"], given.get("messages", [])
    print(sorted(given), given["session_id"], given["state"], "messages" in given, len(given), given.get("config"))
    for word in data["text"].split():
        await client.push_execution_event(DEPLOYMENT_ID, EXECUTION_ID, "chunk", {"text": word})
    state = {**given["state"], "runs": given["state"].get("runs", 0) + 1}
    return {"words": len(data["text"].split()), "given": dict(given)}, [*messages, {"role": "assistant"}], state


async def main():
    client = PlatformClient()
    given = await client.fetch_execution_input(DEPLOYMENT_ID, EXECUTION_ID)
    try:
        output, messages, state = await work(client, given)
        await client.push_execution_output(DEPLOYMENT_ID, EXECUTION_ID, output, {"tokens": 3}, messages, state)
        await client.push_execution_event(DEPLOYMENT_ID, EXECUTION_ID, "done", {})
        await client.publish_execution_status(EXECUTION_ID, "completed")
    except KeyError as error:
        await client.push_execution_output(DEPLOYMENT_ID, EXECUTION_ID, None, error={"message": str(error)})
    await client.close()


asyncio.run(main())
