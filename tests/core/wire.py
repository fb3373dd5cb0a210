"""Tools for tests of the core: sinks that record, streams to read, and a parser that is not the one under test."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from tests.support.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    RawFrame,
    encode_frame,
)
from trunkline.core.inbox import Fragment, Inbox
from trunkline.core.reader import FrameSink, Reader
from trunkline.core.session import Session, Side
from trunkline.testing.wire import parse_frames as parse

MIB = 1 << 20
MASK = b"\x37\xfa\x21\x3d"


class Recorder(FrameSink):
    """Keeps what a reader found, in order."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def message(self, payload: object) -> None:
        self.events.append(payload)

    def fragment(self, fragment: Any) -> None:
        self.events.append(shown(fragment))

    def control(self, opcode: int, payload: bytes) -> None:
        self.events.append((opcode, payload))


def shown(item: Any) -> Any:
    """An item of an inbox, comparable."""
    return (item.data, item.text, item.fin) if isinstance(item, Fragment) else item


def drain(inbox: Inbox) -> list[Any]:
    """All items of an inbox as they came, fragments not joined."""
    return [shown(item) for item in iter(inbox.take_fragment, None)]


def read(pieces: Iterable[bytes], *, masked: bool = True, **limits: int | None) -> list[Any]:
    """The events that a reader finds in a stream that arrives in these pieces; errors are raised."""
    recorder = Recorder()
    reader = Reader(recorder, masked, **limits)
    for piece in pieces:
        reader.receive_data(piece)
    return recorder.events


def opened(side: Side = Side.SERVER, now: float = 0.0, **options: Any) -> Session:
    """A session right after its opening handshake."""
    session = Session(side, **options)
    session.open(now)
    return session


def sent(session: Session) -> list[RawFrame]:
    """The frames that a session has to send, masks left out."""
    return [frame._replace(mask=None) for frame in parse(b"".join(session.take_outgoing()))]


def peer_frame(session: Session, opcode: int, payload: bytes = b"", **fields: Any) -> bytes:
    """A frame as the peer of this session sends it: masked if the peer is a client."""
    return encode_frame(opcode, payload, mask=MASK if session.side is Side.SERVER else None, **fields)


def payload_of(size: int) -> bytes:
    """A payload in which each byte differs from its neighbours."""
    return (bytes(range(256)) * (size // 256 + 1))[:size]


# Streams

SIZES = st.sampled_from([0, 1, 2, 7, 8, 9, 125, 126, 127, 300, 65535, 65536])
MASKS = st.sampled_from([MASK, b"\0\0\0\0", b"\xff\xff\xff\xff", b"\0\0\0\x80"]) | st.binary(min_size=4, max_size=4)
BODIES = st.binary(max_size=40) | SIZES.map(payload_of)
TEXTS = st.text(max_size=20).map(str.encode) | SIZES.map(lambda size: b"\xe2\x82\xac" * (size // 3) + b"a" * (size % 3))


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces, cut at these places."""
    edges = [0, *sorted(place for place in places if place <= len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@st.composite
def splits(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """`data` as a transport may deliver it."""
    if len(data) <= 300 and draw(st.booleans()):
        return [data[i : i + 1] for i in range(len(data))]
    return cut(data, draw(st.lists(st.integers(0, len(data)), max_size=10)))


@st.composite
def control_frames(draw: st.DrawFn, mask: bytes | None) -> bytes:
    return encode_frame(draw(st.sampled_from([PING, PONG])), draw(st.binary(max_size=125)), mask=mask)


@st.composite
def messages(draw: st.DrawFn, masked: bool) -> bytes:
    """One message in one frame or more, with control frames between them."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    payload = draw(TEXTS if opcode == TEXT else BODIES)
    parts = cut(payload, draw(st.lists(st.integers(0, len(payload)), max_size=3)))
    stream = b""
    for i, part in enumerate(parts):
        mask = draw(MASKS) if masked else None
        stream += encode_frame(opcode if i == 0 else CONT, part, fin=i == len(parts) - 1, mask=mask)
        if draw(st.booleans()):
            stream += draw(control_frames(mask))
    return stream


def streams(masked: bool = True) -> st.SearchStrategy[bytes]:
    """Streams of a peer that keeps the rules."""
    return st.lists(messages(masked), max_size=4).map(b"".join)


# Bytes that a peer must not send to a server that takes messages up to 1 MiB: name, bytes, close code, reason

START = encode_frame(TEXT, b"a", fin=False)


def bad_close(payload: bytes) -> bytes:
    return encode_frame(CLOSE, payload)


FAULTS: list[tuple[str, bytes, int, str]] = [
    *(
        (f"{name} of {opcode}", encode_frame(opcode, b"x", rsv=bit), 1002, "reserved bits must be 0")
        for name, bit in [("RSV1", RSV1), ("RSV2", RSV2), ("RSV3", RSV3)]
        for opcode in (TEXT, BINARY, CLOSE, PING, PONG)
    ),
    ("RSV1 of a continuation", START + encode_frame(CONT, rsv=RSV1), 1002, "reserved bits must be 0"),
    *(
        (f"opcode {opcode}", encode_frame(opcode), 1002, "invalid opcode")
        for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
    ),
    ("unknown opcode, huge", encode_frame(3, length=2**40), 1002, "invalid opcode"),
    ("no mask", encode_frame(TEXT, b"x", mask=None), 1002, "incorrect masking"),
    ("no mask, ping", encode_frame(PING, mask=None), 1002, "incorrect masking"),
    *(
        (f"long {opcode}", encode_frame(opcode, bytes(126)), 1002, "control frame too long")
        for opcode in (CLOSE, PING, PONG)
    ),
    ("huge ping", encode_frame(PING, length=2**40), 1002, "control frame too long"),
    *(
        (f"fragment of {op}", encode_frame(op, fin=False), 1002, "fragmented control frame")
        for op in (CLOSE, PING, PONG)
    ),
    ("continuation of nothing", encode_frame(CONT, b"x"), 1002, "unexpected continuation frame"),
    ("continuation of nothing, not final", encode_frame(CONT, fin=False), 1002, "unexpected continuation frame"),
    ("continuation of a whole", encode_frame(TEXT) + encode_frame(CONT), 1002, "unexpected continuation frame"),
    ("continuation of an end", START + encode_frame(CONT) * 2, 1002, "unexpected continuation frame"),
    ("text in a message", START + encode_frame(TEXT), 1002, "expected a continuation frame"),
    ("binary in a message", START + encode_frame(BINARY, fin=False), 1002, "expected a continuation frame"),
    *(
        (
            f"length with MSB, {opcode}",
            encode_frame(opcode, length=2**63),
            1002,
            "invalid frame length: its most significant bit must be 0",
        )
        for opcode in (TEXT, BINARY)
    ),
    (
        "length all ones",
        encode_frame(TEXT, length=2**64 - 1),
        1002,
        "invalid frame length: its most significant bit must be 0",
    ),
    *(
        (
            f"{size} in {width} bytes",
            encode_frame(BINARY, bytes(size), width=width),
            1002,
            "invalid frame length: not the minimal encoding",
        )
        for size, width in [(0, 2), (1, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)]
    ),
    (
        "one byte too long",
        encode_frame(TEXT, length=MIB + 1),
        1009,
        "frame with 1048577 bytes exceeds limit of 1048576 bytes",
    ),
    (
        "huge",
        encode_frame(TEXT, length=2**63 - 1),
        1009,
        f"frame with {2**63 - 1} bytes exceeds limit of 1048576 bytes",
    ),
    (
        "huge continuation",
        START + encode_frame(CONT, length=2**63 - 1),
        1009,
        f"frame with {2**63 - 1} bytes after reading 1 bytes exceeds limit of 1048576 bytes",
    ),
    (
        "one byte too many",
        START + encode_frame(CONT, length=MIB),
        1009,
        "frame with 1048576 bytes after reading 1 bytes exceeds limit of 1048576 bytes",
    ),
    ("empty fragments", START + encode_frame(CONT, fin=False) * (1 << 14), 1009, "too many fragments"),
    ("not UTF-8", encode_frame(TEXT, b"a\xff"), 1007, "invalid start byte at position 1"),
    ("surrogate", encode_frame(TEXT, b"\xed\xa0\x80"), 1007, "invalid continuation byte at position 0"),
    ("half a character", encode_frame(TEXT, b"ab\xe2\x82"), 1007, "unexpected end of data at position 2"),
    (
        "half a character in fragments",
        START + encode_frame(CONT, b"\xe2", fin=False) + encode_frame(CONT, b"\x82", fin=False) + encode_frame(CONT),
        1007,
        "unexpected end of data at position 1",
    ),
    (
        "a wrong byte in the second fragment",
        encode_frame(TEXT, b"\xe2\x82", fin=False) + encode_frame(CONT, b"a", fin=False),
        1007,
        "invalid continuation byte at position 0",
    ),
    ("close of one byte", bad_close(b"\x03"), 1002, "close frame too short"),
    *(
        (f"close with {code}", bad_close(code.to_bytes(2, "big")), 1002, "invalid status code")
        for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)
    ),
    ("close with a reason that is not UTF-8", bad_close(b"\x03\xe8ab\xff"), 1007, "invalid start byte at position 2"),
]
