"""Calls every kind of component, by position and by keyword, and gives up on one that takes too long."""

import asyncio
import uuid

from platform_client import PlatformClient, PlatformExecutionError

DEPLOYMENT = uuid.uuid4()


async def durable(client):
    block = await client.execute_code_block("count-words", {"text": "a b"}, None, "workspace", "workflow", 60)
    flow = await client.execute_workflow("configuration", {}, {"tier": "gold"}, timeout_seconds=60)
    other = await client.execute_workflow("configuration", {}, {"tier": "gold"}, {"tier": "tin"}, False)
    agent = await client.execute_agent("answer", {"name": "Ada"}, {}, execution_mode="isolated", timeout_seconds=60)
    for record in (block, flow, other, agent):
        print(record["status"], record["output"])
    echoed = await client.execute_workflow("echo", {"earlier": block, "all": [agent]})
    print(echoed["output"]["earlier"] == block, echoed["output"]["all"][0]["output"])


async def inline(client):
    answer = await client.execute_agent("answer", {"name": "Bob"}, {}, caller_deployment_id=DEPLOYMENT)
    print(answer["output"]["text"], answer.get("usage"), answer.get("messages") or [], sorted(answer))
    total = await client.execute_transform("total", [1, 2, 3.5], None, str(DEPLOYMENT))
    print(total, type(total).__name__)
    for version in (None, "1.1"):
        skills = await client.get_service_skills("search", version=version)
        print(version, type(skills).__name__, sorted(skills))


async def too_long(client):
    try:
        record = await client.execute_workflow("sleep", {"seconds": 60}, timeout_seconds=1.5)
        print("gave up:", record["status"] == "timeout")  # the platform was quicker than the wait
    except PlatformExecutionError as error:
        print("gave up:", isinstance(error.__cause__, TimeoutError))
    handle = await client.submit_workflow_execution("sleep", {"seconds": 60})
    try:
        await client.await_execution_result(handle["execution_id"], timeout_seconds=0.3, poll_interval_seconds=0.1)
    except TimeoutError:
        answer = await client.cancel_execution(handle["execution_id"])
        print("cancelled:", answer["execution_id"] == handle["execution_id"], sorted(answer))
    record = await client.await_execution_result(handle["execution_id"])
    print(record["status"], "output" in record, record.get("output"))


async def main():
    client = PlatformClient(timeout=30)
    try:
        await durable(client)
        await inline(client)
        await too_long(client)
    finally:
        await client.aclose()


asyncio.run(main())
