"""The protocol of Redis and Valkey, versions 2 and 3 (RESP), without I/O.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["Parser", "Push", "RedisError", "RespError", "command"]

LINE: Final = 1 << 16  # bytes of a header or of a simple string
BULK: Final = 1 << 29  # bytes of a string, the limit of Redis itself
DEPTH: Final = 32  # aggregates within each other

CONTAINERS: Final = frozenset(b"*~>%|")
BULKS: Final = frozenset(b"$=!")
MESSAGE: Final = b">3\r\n$7\r\nmessage\r\n"
PAIRS: Final = frozenset(b"%|")  # whose count is one of pairs


class RespError(Exception):
    """The server said something that isn't RESP: there is no way to go on."""


class RedisError(Exception):
    """The server's answer is an error.

    Attributes:
        code: its first word, such as "NOSCRIPT".
    """

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class Push(list[Any]):
    """A value that the server sends without being asked, such as a message of a channel."""


def command(*args: bytes) -> bytes:
    """A command, as the server wants it: an array of strings."""
    parts = [b"*%d\r\n" % len(args)]
    parts += [b"$%d\r\n%b\r\n" % (len(arg), arg) for arg in args]
    return b"".join(parts)


class Parser:
    """Makes values of what arrives, in pieces of any size.

    Strings are bytes, arrays and sets lists, maps dicts, nothing is None. An error is a `RedisError`, as a value. It
    may be one of several. Attributes, which servers may put before a value, are left out.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # came in, but end within a value
        self._have = 0  # bytes of them
        self._need = 0  # without so many there is nothing to do
        self._stack: list[_Aggregate] = []

    def feed(self, data: bytes) -> list[Any]:
        """The values that are complete with these bytes.

        Raises:
            RespError: if they can't be understood. The parser is of no more use.
        """
        if self._pieces:
            self._pieces.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        values: list[Any] = []
        rest = self._parse(data, values)
        if rest < len(data):
            self._pieces.append(data[rest:] if rest else data)
            self._have = len(data) - rest
        return values

    def _parse(self, data: bytes, values: list[Any]) -> int:
        """Append what is complete to `values`. Returns where the first value begins that isn't."""
        at, size = 0, len(data)
        while at < size:
            end = data.find(b"\r\n", at)
            if end < 0:
                if size - at > LINE:
                    raise RespError(f"a line is longer than {LINE} bytes: {data[at : at + 40]!r}")
                self._need = size - at + 1
                return at
            kind = data[at]
            if kind == 0x3E and not self._stack and (message := _message(data, at)) is not None:
                push, at = message
                values.append(push)
                continue
            if kind in BULKS:
                length = _number(data, at, end)
                stop = end + 2 + length
                if length < 0:
                    at, value = end + 2, None
                elif stop + 2 > size:
                    self._need = stop + 2 - at
                    return at
                else:
                    value = _string(kind, data, end + 2, stop)
                    at = stop + 2
            elif kind in CONTAINERS:
                at, value = end + 2, self._open(kind, _number(data, at, end))
                if value is _OPENED:
                    continue
            else:
                value = _simple(kind, data[at + 1 : end])
                at = end + 2
            if value is not _LEFT_OUT and self._stack and len((top := self._stack[-1]).items) + 1 < top.count:
                top.items.append(value)  # most elements aren't the last
            else:
                self._add(value, values)
        return at

    def _open(self, kind: int, count: int) -> Any:
        """Begin an aggregate; or its value, where it has no elements."""
        if count < 0:
            return None
        aggregate = _Aggregate(kind, count * 2 if kind in PAIRS else count)
        if not count:
            return aggregate.value()
        if len(self._stack) >= DEPTH:
            raise RespError(f"values are nested more than {DEPTH} deep")
        self._stack.append(aggregate)
        return _OPENED

    def _add(self, value: Any, values: list[Any]) -> None:
        """A value is complete; and perhaps, with it, what it is a part of."""
        while value is not _LEFT_OUT:
            if not self._stack:
                values.append(value)
                return
            aggregate = self._stack[-1]
            aggregate.items.append(value)
            if len(aggregate.items) < aggregate.count:
                return
            self._stack.pop()
            value = aggregate.value()


_OPENED: Final = object()  # an aggregate whose elements follow
_LEFT_OUT: Final = object()  # an attribute


class _Aggregate:
    """A value that is made of others."""

    __slots__ = ("count", "items", "kind")

    def __init__(self, kind: int, count: int) -> None:
        self.kind = kind
        self.count = count
        self.items: list[Any] = Push() if kind == 0x3E else []  # >

    def value(self) -> Any:
        if self.kind == 0x7C:  # |
            return _LEFT_OUT
        if self.kind != 0x25:  # %
            return self.items
        try:
            return dict(zip(self.items[::2], self.items[1::2], strict=True))
        except TypeError:
            raise RespError("a map has keys that are aggregates") from None


def _message(data: bytes, at: int) -> tuple[Push, int] | None:
    """A message of a channel and where it ends, if all of it is here. Most of what a node reads are messages."""
    if not data.startswith(MESSAGE, at):
        return None
    at += len(MESSAGE)
    push = Push((b"message",))
    for _ in range(2):
        end = data.find(b"\r\n", at)
        if end < 0 or data[at] != 0x24 or not data[at + 1 : end].isdigit():  # $
            return None
        stop = end + 2 + int(data[at + 1 : end])
        if data[stop : stop + 2] != b"\r\n":
            return None
        push.append(data[end + 2 : stop])
        at = stop + 2
    return push, at


def _number(data: bytes, at: int, end: int) -> int:
    """The length that a header says; -1 for nothing, as in version 2."""
    try:
        number = int(data[at + 1 : end])
    except ValueError:
        raise RespError(f"{data[at:end][:40]!r} should have a length") from None
    if not -1 <= number <= BULK:
        raise RespError(f"{data[at:end]!r} has an impossible length")
    return number


def _string(kind: int, data: bytes, start: int, stop: int) -> Any:
    if data[stop : stop + 2] != b"\r\n":
        raise RespError(f"a string of {stop - start} bytes doesn't end where it should")
    if kind == 0x24:  # $
        return data[start:stop]
    if kind == 0x21:  # !
        return RedisError(data[start:stop].decode(errors="replace"))
    return data[start + 4 : stop]  # = has a format before the text, such as "txt:"


def _simple(kind: int, text: bytes) -> Any:
    """A value that is a line."""
    try:
        match chr(kind):
            case "+":
                return text
            case "-":
                return RedisError(text.decode(errors="replace"))
            case ":" | "(":
                return int(text)
            case ",":
                return float(text)
            case "_" if not text:
                return None
            case "#" if text in (b"t", b"f"):
                return text == b"t"
    except ValueError:
        pass
    raise RespError(f"{chr(kind)!r} and {text[:40]!r} say nothing that we know")
