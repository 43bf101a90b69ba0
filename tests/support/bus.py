"""The message bus as others see it: through plain nats-py, without flow_client."""

import json
from dataclasses import dataclass
from typing import Any

from nats.js.errors import NotFoundError
from support.jetstream import with_jetstream


@dataclass
class Message:
    """A stored message."""

    subject: str
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Bus:
    """Reads and writes the streams of one server, each call over a connection of its own."""

    def __init__(self, url):
        self.url = url

    def publish(self, subject, data, headers=None):
        """Publish what a platform would, or a message of somebody else's."""
        return self.do(lambda js: js.publish(subject, data, headers=headers))

    def put_input(self, execution_id, data=b"{}"):
        self.publish(f"exec.input.{execution_id}", data)

    def stored(self, subject):
        """Return all messages of `subject`, the oldest first."""

        async def read(js):
            stream = await js.find_stream_name_by_subject(subject)
            found, sequence = [], 1
            while True:
                try:
                    message = await js.get_msg(stream, seq=sequence, subject=subject, next=True)
                except NotFoundError:
                    return found
                found.append(Message(message.subject, message.headers or {}, message.data or b""))
                sequence = message.seq + 1

        return self.do(read)

    def events(self, execution_id):
        return [message.json for message in self.stored(f"exec.events.{execution_id}")]

    def outputs(self, execution_id):
        return [message.json for message in self.stored(f"exec.output.{execution_id}")]

    def statuses(self, execution_id):
        return [message.json["status"] for message in self.stored(f"exec.status.{execution_id}")]

    def input_waits(self, execution_id):
        """Return whether the execution's input is still in the work queue."""
        return bool(self.stored(f"exec.input.{execution_id}"))

    def consumers(self, stream="EXEC_INPUT"):
        return self.do(lambda js: js.consumers_info(stream))

    def do(self, action):
        """Return what the coroutine function `action` returns for the JetStream of a connection of its own."""
        return with_jetstream(self.url, action)
