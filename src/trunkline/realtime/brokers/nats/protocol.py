"""The protocol of NATS, without I/O: what a client says, and a parser of what the server says.

https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

__all__ = [
    "PING",
    "PONG",
    "Error",
    "Event",
    "Info",
    "Message",
    "Parser",
    "Ping",
    "Pong",
    "ProtocolError",
    "connect",
    "publish",
    "subscribe",
    "unsubscribe",
]

LINE: Final = 1 << 20  # bytes at most before the end of a line: INFO is the longest
PAYLOAD: Final = 64 << 20  # bytes at most of a message with its headers, as the server has it
VERSION: Final = b"NATS/1.0"

PING: Final = b"PING\r\n"
PONG: Final = b"PONG\r\n"


class ProtocolError(Exception):
    """The server said what isn't in the protocol."""


class Message(NamedTuple):
    """A message.

    Attributes:
        subject: where it was published.
        sid: number of our subscription.
        reply: subject for answers; b"" if none.
        headers: the block of headers, from `NATS/1.0` on; b"" if none.
        payload: bytes.
    """

    subject: bytes
    sid: int
    reply: bytes
    headers: bytes
    payload: bytes

    @property
    def status(self) -> bytes:
        """Three digits, such as 503 if no one listens to the subject; b"" if it has none."""
        return self.headers[9:12] if self.headers[8:9] == b" " else b""

    def header(self, name: bytes) -> bytes:
        """The value of a header, b"" if it isn't there."""
        start = self.headers.find(b"\r\n" + name + b":")
        if start < 0:
            return b""
        start += len(name) + 3
        return self.headers[start : self.headers.index(b"\r\n", start)].strip()


class Info(NamedTuple):
    """Facts about the server: the fields of its INFO."""

    fields: dict[str, Any]


class Ping(NamedTuple):
    """The server asks for a sign of life."""


class Pong(NamedTuple):
    """The answer to our PING."""


class Error(NamedTuple):
    """The server complains; of most errors it ends the connection.

    Attributes:
        text: without quotes.
    """

    text: str


Event = Message | Info | Ping | Pong | Error


class Parser:
    """Makes events of bytes, however they are cut."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """More bytes came. Returns what is complete now.

        Raises:
            ProtocolError: if they aren't of the protocol.
        """
        data = self._rest + data if self._rest else data
        events: list[Event] = []
        position = 0
        while (end := data.find(b"\r\n", position)) >= 0:
            verb, _, rest = data[position:end].partition(b" ")
            if verb == b"MSG" or verb == b"HMSG":
                message, position_after = _message(rest.split(), verb == b"HMSG", data, end + 2)
                if message is None:
                    break
                events.append(message)
                position = position_after
            else:
                event = _event(verb.upper(), rest)
                if event is not None:
                    events.append(event)
                position = end + 2
        else:
            if len(data) - position > LINE:
                raise ProtocolError(f"a line of more than {LINE} bytes: {data[position : position + 40]!r}…")
        self._rest = data[position:]
        return events


def _message(fields: list[bytes], has_headers: bool, data: bytes, start: int) -> tuple[Message | None, int]:
    """A message, and where it ends; None if it isn't complete.

    `MSG subject sid [reply] size`, `HMSG subject sid [reply] size-of-headers size`
    """
    try:
        headers, size = (int(fields[-2]), int(fields[-1])) if has_headers else (0, int(fields[-1]))
        before = fields[: -2 if has_headers else -1]
        subject, sid, reply = before if len(before) == 3 else (*before, b"")
        number = int(sid)
    except (ValueError, IndexError):
        raise ProtocolError(f"a message begins with {b' '.join(fields)[:80]!r}") from None
    if not 0 <= headers <= size <= PAYLOAD:
        raise ProtocolError(f"a message has {size} bytes, {headers} of them headers")
    end = start + size
    if len(data) < end + 2:
        return None, start
    if data[end : end + 2] != b"\r\n":
        raise ProtocolError(f"{data[end : end + 2]!r} follows a message of {size} bytes instead of CRLF")
    block = data[start : start + headers]
    if has_headers and not (block.startswith(VERSION) and block.endswith(b"\r\n\r\n")):
        raise ProtocolError(f"headers are {block[:80]!r}")
    return Message(subject, number, reply, block, data[start + headers : end]), end + 2


def _event(verb: bytes, rest: bytes) -> Event | None:
    match verb:
        case b"PING":
            return Ping()
        case b"PONG":
            return Pong()
        case b"+OK":
            return None
        case b"-ERR":
            return Error(rest.decode(errors="replace").strip().strip("'"))
        case b"INFO":
            try:
                return Info(msgspec.json.decode(rest, type=dict[str, Any]))
            except msgspec.MsgspecError as error:
                raise ProtocolError(f"INFO isn't JSON: {error}") from error
    raise ProtocolError(f"{verb[:40]!r} is no word of the protocol")


def connect(options: dict[str, Any]) -> bytes:
    """The command that says who we are."""
    return b"CONNECT %b\r\n" % msgspec.json.encode(options)


def subscribe(subject: bytes, sid: int) -> bytes:
    """The command to deliver the messages of a subject, under this number."""
    return b"SUB %b %d\r\n" % (subject, sid)


def unsubscribe(sid: int) -> bytes:
    """The command to deliver them no more."""
    return b"UNSUB %d\r\n" % sid


def publish(subject: bytes, payload: bytes, reply: bytes = b"", headers: bytes = b"") -> bytes:
    """The command that sends a message. `headers`: lines, each with its CRLF."""
    if not headers:
        return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(payload), payload)
    block = b"%b\r\n%b\r\n" % (VERSION, headers)
    return b"HPUB %b %b %d %d\r\n%b%b\r\n" % (subject, reply, len(block), len(block) + len(payload), block, payload)
