"""HTTP headers: a multi-dict whose names ignore case (RFC 9110 section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, Protocol

__all__ = ["Headers", "HeadersLike", "MultipleValuesError"]

# RFC 9110 sections 5.1 and 5.6.2: a field name is a token
_is_name = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++").fullmatch
# RFC 9110 section 5.5: no control characters, so no way to start another header; the rest is ISO-8859-1
_is_value = re.compile(r"[\t -~\x80-\xff]*+").fullmatch


class MultipleValuesError(LookupError):
    """A header has several values where one was asked for. Call :meth:`Headers.get_all`."""

    def __str__(self) -> str:
        return repr(self.args[0]) if len(self.args) == 1 else super().__str__()


class Headers(MutableMapping[str, str]):
    """Headers of a request or a response, in order, with their names as they were written.

    ``headers[name]`` finds a header whatever the case of ``name``. It raises :exc:`MultipleValuesError` if there are
    several; :meth:`get_all` returns all of them. ``headers[name] = value`` **adds** a header: delete first to replace.

    Args:
        *args: at most one mapping, or iterable of (name, value) pairs.
        **kwargs: more headers, for names that are identifiers.

    Raises:
        TypeError: if a value is bytes.
        ValueError: if a name isn't a token (RFC 9110 section 5.1).
        InvalidHeaderValue: if a value contains control characters or isn't ISO-8859-1 (RFC 9110 section 5.5).
    """

    __slots__ = ("_index", "_pairs")

    def __init__(self, *args: HeadersLike, **kwargs: str) -> None:
        self._pairs: list[tuple[str, str]] = []
        self._index: dict[str, list[str]] | None = None  # who only writes headers needs none
        if args or kwargs:
            self.update(*args, **kwargs)

    def __str__(self) -> str:
        return "".join([f"{name}: {value}\r\n" for name, value in self._pairs]) + "\r\n"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._pairs!r})"

    def copy(self) -> Headers:
        """Return headers that can change on their own."""
        copy = type(self)()
        for name, value in self._pairs:
            copy.set_insecure(name, value)
        return copy

    def serialize(self) -> bytes:
        """Return the header lines and the empty line that ends them (RFC 9112 section 2.1)."""
        return str(self).encode("iso-8859-1")

    @property
    def _values(self) -> dict[str, list[str]]:
        """The values by name in lower case."""
        if self._index is None:
            self._index = {}
            for name, value in self._pairs:
                self._index.setdefault(name.lower(), []).append(value)
        return self._index

    # Collection

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        """Iterate over the distinct names, in lower case."""
        return iter(self._values)

    def __len__(self) -> int:
        """Count the distinct names."""
        return len(self._values)

    # MutableMapping

    def __getitem__(self, key: str) -> str:
        values = self._values[key.lower()]
        if len(values) > 1:
            raise MultipleValuesError(key)
        return values[0]

    def __setitem__(self, key: str, value: str) -> None:
        if not isinstance(key, str) or not _is_name(key):
            raise ValueError(f"invalid header name {key!r}: use letters, digits and hyphens")
        if isinstance(value, bytes | bytearray | memoryview):
            raise TypeError(f"the value of the header {key} is {value!r}: decode it")
        text = str(value)  # programs pass lengths and counts as they are
        if not _is_value(text):
            raise InvalidHeaderValue(key, text)
        self.set_insecure(key, text)

    def __delitem__(self, key: str) -> None:
        name = key.lower()
        del self._values[name]
        self._pairs = [pair for pair in self._pairs if pair[0].lower() != name]

    def __eq__(self, other: Any) -> bool:
        return self._values == other._values if isinstance(other, Headers) else NotImplemented

    def clear(self) -> None:
        """Remove all headers."""
        self._pairs = []
        self._index = None

    def update(self, *args: HeadersLike, **kwargs: str) -> None:
        """Add headers; the arguments are those of :class:`Headers`."""
        pairs_or_mapping = [arg.raw_items() if isinstance(arg, Headers) else arg for arg in args]
        super().update(*pairs_or_mapping, **kwargs)

    # Several values

    def get_all(self, key: str) -> list[str]:
        """Return the values of a header, in order; an empty list if it is missing."""
        values = (self._index or self._values).get(key.lower())
        return [] if values is None else values[:]

    def raw_items(self) -> Iterator[tuple[str, str]]:
        """Iterate over (name, value) pairs, in order, with names as they were written."""
        return iter(self._pairs)

    def set_insecure(self, key: str, value: str) -> None:
        """Add a header without checking it: only for a name and a value known to be valid."""
        self._pairs.append((key, value))
        if self._index is not None:
            self._index.setdefault(key.lower(), []).append(value)


class SupportsKeysAndGetItem(Protocol):
    """A mapping as far as :class:`Headers` needs one."""

    def keys(self) -> Iterable[str]: ...

    def __getitem__(self, key: str, /) -> str: ...


HeadersLike = Headers | Mapping[str, str] | Iterable[tuple[str, str]] | SupportsKeysAndGetItem
"""What can be turned into :class:`Headers`."""


# Last, as that module needs this one.
from .exceptions import InvalidHeaderValue  # noqa: E402
