"""The idempotency keys of a batch: they are the same each time it is run."""

from __future__ import annotations

import uuid
from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from flow_client._core.checks import shown
from flow_client.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    BatchKey = str | Callable[[Any], str]

REMEMBERED = 1_000_000
"""How many inputs' keys are kept to detect repeated ones: about 100 MiB, however many inputs follow."""


class BatchKeys:
    """Derives an idempotency key for each input: from the batch's key and the input's position, or from the input.

    Args:
        key: the batch's key, a function of an input, or None for a random key.

    Raises:
        InvalidRequestError: the key is not valid.
    """

    def __init__(self, key: BatchKey | None) -> None:
        if not (key is None or callable(key) or (isinstance(key, str) and key)):
            raise InvalidRequestError(f"key is {shown(key)}; it must be a non-empty string or a function")
        self.is_given = key is not None
        self._key: BatchKey = str(uuid.uuid4()) if key is None else key
        self._positions: OrderedDict[int, int] = OrderedDict()

    def of_input(self, item: Any, position: int) -> str:
        """Return the idempotency key of one input.

        Raises:
            InvalidRequestError: the key function returned no usable key, or one that it returned before.
        """
        if isinstance(self._key, str):
            return f"{_digest(self._key)}-{position}"
        value = self._key(item)
        if not isinstance(value, str) or not value:
            place = f"inputs[{position}]"
            raise InvalidRequestError(
                f"the key function returned {shown(value)} for {place}; it must return a non-empty string"
            )
        digest = _digest(value)
        self._check_new(digest, value, position)
        return digest

    def how_to_resume(self) -> str:
        """Say how to run the batch again so that it takes up what this run has started."""
        return (
            f"call map again with key={self._key!r}"
            if isinstance(self._key, str)
            else "call map again with the same key function"
        )

    def explain_conflict(self, item: Any, position: int) -> str:
        """Say what it means that the platform knows the input's idempotency key from another request."""
        if isinstance(self._key, str):
            return (
                f"inputs[{position}] is not what an earlier run with key={shown(self._key)} submitted there. "
                "Inputs were added, removed or reordered, or an argument of the submission was changed: "
                "use another key, or a function of the input (key=lambda item: …), which does not depend on positions"
            )
        return (
            f"inputs[{position}] is not what an earlier run submitted under its key {shown(self._key(item))}. "
            "The input or an argument of the submission was changed: let the key function return another key for it"
        )

    def _check_new(self, digest: str, value: str, position: int) -> None:
        # The hashes stand for the values, which may be long.
        first = self._positions.setdefault(int(digest[:16], 16), position)
        if first != position:
            raise InvalidRequestError(
                f"the key function returned {shown(value)} for inputs[{first}] and for inputs[{position}]; "
                "each input of a batch needs a key of its own"
            )
        if len(self._positions) > REMEMBERED:
            self._positions.popitem(last=False)


def of_attempt(idempotency_key: str, number: int) -> str:
    """Return the key of one attempt of an input: number 0, the first, has the input's own key."""
    return f"{idempotency_key}-r{number}" if number else idempotency_key


def _digest(text: str) -> str:
    return sha256(text.encode(errors="surrogatepass")).hexdigest()
