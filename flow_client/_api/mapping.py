"""Answers that can be read as the dicts that they were on the wire."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from flow_client._core.log import add_note
from flow_client._core.synchronous import not_async

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterator, KeysView, ValuesView


class AnswerMapping(Mapping[str, Any]):
    """A mapping for reading: the keys and values are those of the JSON object that came, unknown ones included.

    Scripts of the async client, whose answers are dicts, read ours in the same way. `str()` is that of the dict, and
    what makes another dict of a dict makes a dict of it too: `dict(answer)`, `answer.copy()`, `answer | {…}`.
    """

    __slots__ = ()

    @abstractmethod
    def as_received(self) -> dict[str, Any]:
        """Return the JSON object that came. It is not a copy: do not change it."""

    def __getitem__(self, key: str) -> Any:
        fields = self.as_received()
        try:
            return fields[key]
        except KeyError as error:
            add_note(error, f"This {type(self).__name__} has {', '.join(fields) or 'no fields'}.")
            raise

    def __iter__(self) -> Iterator[str]:
        return iter(self.as_received())

    def __len__(self) -> int:
        return len(self.as_received())

    def __contains__(self, key: object) -> bool:
        return key in self.as_received()

    def __reversed__(self) -> Iterator[str]:
        return reversed(self.as_received())

    def __or__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return {**self, **other} if isinstance(other, Mapping) else NotImplemented

    def __ror__(self, other: Mapping[Any, Any]) -> dict[Any, Any]:
        return {**other, **self} if isinstance(other, Mapping) else NotImplemented

    def __str__(self) -> str:
        return str(self.as_received())

    def get(self, key: str, default: Any = None) -> Any:
        """Return the field as it came, `default` if it did not come."""
        return self.as_received().get(key, default)

    def keys(self) -> KeysView[str]:
        """Return the names of the fields that came."""
        return self.as_received().keys()

    def items(self) -> ItemsView[str, Any]:
        """Return the fields that came, with their values."""
        return self.as_received().items()

    def values(self) -> ValuesView[Any]:
        """Return the values that came."""
        return self.as_received().values()

    def copy(self) -> dict[str, Any]:
        """Return a dict of the fields that came, as the `copy` of a dict does. It may be changed."""
        return dict(self.as_received())

    if not TYPE_CHECKING:  # a type checker shall find them missing

        def __await__(self) -> NoReturn:
            raise not_async("the call has returned its answer already; remove `await`")

        def _refuse_change(self, *_arguments: Any, **_fields: Any) -> NoReturn:
            name = type(self).__name__
            raise TypeError(f"this {name} is read-only: take dict(…) of it and change that (docs/porting.md)")

        __setitem__ = __delitem__ = __ior__ = _refuse_change
        clear = pop = popitem = setdefault = update = _refuse_change
