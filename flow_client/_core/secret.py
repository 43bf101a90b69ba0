"""A string whose text is hidden from whatever handles it as a string."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from typing_extensions import Self

MASK = "**********"


class Secret(str):
    """A string that everything sees as a mask: printing, formatting, slicing, joining, JSON.

    Only `reveal()` and `encode()`, with which HTTP headers become bytes, give the text. Two secrets, or a secret and a
    string, are equal if their texts are. A secret cannot be pickled.
    """

    __slots__ = ("_text",)
    _text: str

    def __new__(cls, text: str, prefix: str = "") -> Self:
        secret = super().__new__(cls, prefix + MASK)
        secret._text = prefix + (text.reveal() if isinstance(text, Secret) else text)
        return secret

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the text itself as bytes: this is what goes into a socket."""
        return self._text.encode(encoding, errors)

    def as_header(self, prefix: str) -> SecretHeader:
        """Return a header's value of `prefix`, which anybody may see, and this secret."""
        return SecretHeader(self, prefix)

    def __eq__(self, other: object) -> bool:
        return self._text == (other._text if isinstance(other, Secret) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return repr(str(self))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> str:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a token is not pickled: create the client in the process that uses it")


class SecretHeader(Secret):
    """A header's value that is sent as it is and copied as its mask.

    Tools that record requests keep deep copies of them (vcrpy): a cassette then holds the mask, whatever writes it.
    """

    __slots__ = ()

    def __deepcopy__(self, memo: dict[int, Any]) -> str:
        return str(self)
