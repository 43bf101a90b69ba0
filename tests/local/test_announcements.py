"""The end of every execution is published, whatever happens to the process that learns of it."""

import contextlib
import dataclasses
import random
import time
from collections import Counter
from functools import partial

import psutil
import pytest
from nats.js.api import DiscardPolicy
from support.jetstream import with_jetstream
from support.size import few

from flow_client import NatsBridge, PlatformClientError
from flow_client.local import LocalPlatform

TERMINAL = {"completed", "failed", "timeout", "dead_letter", "cancelled"}

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def platform(components):
    with LocalPlatform(components, max_workers=4) as platform:
        yield platform


def kill(guarded):
    (command,) = psutil.Process(guarded.guard_pid).children()
    command.kill()
    guarded.wait(5)


def restart_api(platform):
    kill(platform._api)
    platform._start_api()


def refuse_statuses(platform, refuse):
    """Have the stream of statuses store nothing more, or take everything again."""

    async def update(js):
        config = (await js.stream_info("EXEC_STATUS")).config
        limits = {"max_msgs": 1, "discard": DiscardPolicy.NEW} if refuse else {"max_msgs": -1}
        await js.update_stream(dataclasses.replace(config, **limits))

    with_jetstream(platform.nats_url, update)


def read_statuses(platform):
    """Return the published statuses of all executions, in order."""

    async def read(js):
        count = (await js.stream_info("EXEC_STATUS")).state.messages
        subscription = await js.subscribe("exec.status.*", ordered_consumer=True)
        messages = [await subscription.next_msg(10) for _ in range(count)]
        return [(message.subject.rpartition(".")[2], message.data) for message in messages]

    return with_jetstream(platform.nats_url, read)


def ends(platform):
    return Counter(
        execution_id for execution_id, data in read_statuses(platform) if any(s.encode() in data for s in TERMINAL)
    )


def test_an_end_whose_publication_failed_is_published_after_a_crash(platform, client, eventually):
    handle = client.submit_workflow_execution("sleep", {}, ring_id=platform.ring_id)
    assert eventually(lambda: handle.status().status == "running")
    refuse_statuses(platform, True)
    with contextlib.suppress(PlatformClientError):
        client.with_options(max_attempts=1).cancel_execution(handle.execution_id)
    assert handle.status().status == "cancelled"
    kill(platform._api)
    kill(platform._runner)
    refuse_statuses(platform, False)
    platform._start_api()
    platform._start_runner()
    with NatsBridge(platform.nats_url) as bridge:
        assert list(bridge.events(handle.execution_id)) == []


def test_a_late_running_does_not_hide_the_end(platform, client):
    handle = client.submit_workflow_execution("sleep", {}, ring_id=platform.ring_id)
    handle.cancel()
    time.sleep(1)
    client.publish_execution_status(handle.execution_id, "running")
    with NatsBridge(platform.nats_url) as bridge:
        assert list(bridge.events(handle.execution_id)) == []
    assert handle.status().status == "cancelled"


@pytest.mark.soak
@pytest.mark.timeout(180)
def test_each_end_is_published_once_though_the_api_is_killed_again_and_again(platform, client, eventually):
    chance = random.Random(7)
    submit = partial(client.submit_code_block_execution, "count-words", {"text": "a b"}, ring_id=platform.ring_id)
    handles = [submit() for _ in range(few(6, of=24))]
    for _ in range(few(3, of=8)):
        time.sleep(chance.uniform(0, 0.5))
        restart_api(platform)
    ids = {handle.execution_id for handle in handles}
    assert all(handle.wait(timeout=100).is_completed for handle in handles)
    assert eventually(lambda: ends(platform) == dict.fromkeys(ids, 1)), ends(platform)
