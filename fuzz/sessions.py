"""One conversation for both builds of the session: the same bytes in the same pieces, and the same calls between them.

After each step everything that a driver could see is compared. A difference is shortened before it is shown.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

from fuzz import twins
from tests.core.wire import parse
from tests.support.raw import RawFrame, encode_frame

COMPILED, INTERPRETED = twins.load("trunkline.core.session")

LIMITS: dict[str, Any] = {
    "max_message": 70_000,
    "max_frame": 66_000,
    "high": 8,
    "low": 2,
    "ping_interval": 20.0,
    "ping_timeout": 20.0,
    "close_timeout": 10.0,
}
SIZES = (0, 1, 2, 3, 7, 8, 9, 60, 124, 125, 126, 127, 255, 256, 257, 65_535, 65_536, 65_999, 66_001)
TEXTS = (
    b"plain",
    "ä€\U0001f600".encode(),
    b"\xff",
    b"\xed\xa0\x80",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"",
    "€".encode() * 50,
)
CODES = (1000, 1001, 1002, 1005, 1006, 1011, 1015, 2999, 3000, 4999, 5000)


class Step(NamedTuple):
    """A call of a method of the session, or of its inbox."""

    call: str
    arguments: tuple[Any, ...]


class Difference(NamedTuple):
    """Steps after the last of which the two builds differ."""

    client: bool
    deflate: bool
    steps: list[Step]
    compiled: Any
    interpreted: Any

    def __str__(self) -> str:
        side = f"{'client' if self.client else 'server'}{' with permessage-deflate' if self.deflate else ''}"
        lines = [f"the builds differ, as {side}, after"]
        lines += [f"  {step.call}{step.arguments!r}" for step in self.steps]
        lines += [f"compiled:    {self.compiled!r}", f"interpreted: {self.interpreted!r}"]
        return "\n".join(lines)


# Steps


def conversation(draw: random.Random, client: bool, deflate: bool = False) -> list[Step]:
    """Bytes of a peer in pieces, mixed with what an application and a clock do."""
    data = (compressed_stream if deflate else stream)(draw, masked=not client)
    steps = [Step("receive_data", (piece,)) for piece in pieces(draw, data)]
    for _ in range(draw.randrange(8)):
        steps.insert(draw.randrange(len(steps) + 1), action(draw))
    return steps


def stream(draw: random.Random, masked: bool) -> bytes:
    data = b"".join(frame(draw, masked) for _ in range(draw.randrange(1, 9)))
    return mutated(draw, data) if draw.random() < 0.4 else data


def compressed_stream(draw: random.Random, masked: bool) -> bytes:
    """Messages of a peer that compresses most of them, with the same window, and pings now and then."""
    deflater = zlib.compressobj(wbits=-12)
    data = b""
    for _ in range(draw.randrange(1, 9)):
        data += compressed_message(draw, deflater, masked) if draw.random() < 0.7 else frame(draw, masked)
    return mutated(draw, data) if draw.random() < 0.4 else data


def compressed_message(draw: random.Random, deflater: Any, masked: bool) -> bytes:
    """One message (RFC 7692 section 7.2.1), in one frame or several; some inflate to more than is allowed."""
    opcode = draw.choice((1, 2))
    size = draw.choice((0, 1, 10, 300, 66_000, 70_000, 70_001, 500_000))
    content = payload(draw, opcode) if draw.random() < 0.7 else b"z" * size
    compressed = deflater.compress(content) + deflater.flush(zlib.Z_SYNC_FLUSH)
    cuts = sorted(draw.randrange(len(compressed)) for _ in range(draw.choice((0, 0, 1, 3))))
    ends = [*cuts, len(compressed) - 4]  # the empty block at the end isn't sent
    data, start = b"", 0
    for i, end in enumerate(ends):
        mask = draw.randbytes(4) if masked else None
        last = i == len(ends) - 1
        data += encode_frame(0 if i else opcode, compressed[start:end], fin=last, rsv=0 if i else 0x40, mask=mask)
        if not last and draw.random() < 0.2:
            data += encode_frame(9, b"ping", mask=mask)
        start = max(start, end)
    return data


def frame(draw: random.Random, masked: bool) -> bytes:
    opcode = draw.choice((0, 0, 1, 1, 2, 2, 8, 9, 10, 10, 3, 11) if draw.random() < 0.1 else (0, 1, 1, 2, 2, 9, 10))
    if draw.random() < 0.05:
        opcode = 8
    return encode_frame(
        opcode,
        payload(draw, opcode),
        fin=opcode >= 8 or draw.random() < 0.6,
        rsv=draw.choice((0x40, 0x20, 0x10)) if draw.random() < 0.01 else 0,
        mask=draw.choice((b"\0\0\0\0", draw.randbytes(4))) if masked else None,
    )


def payload(draw: random.Random, opcode: int) -> bytes:
    if opcode == 8:
        return draw.choice(CODES).to_bytes(2, "big") + draw.choice(TEXTS)[:123]
    if opcode > 8:
        return draw.choice((b"", b"ping", draw.randbytes(draw.randrange(126))))
    if draw.random() < 0.5:
        return draw.choice(TEXTS)
    size = draw.choice(SIZES) if draw.random() < 0.7 else draw.randrange(400)
    return (
        bytes(draw.choice(b"abc\xc3\xa4") for _ in range(size))
        if size < 300
        else b"a\xc3\xa4" * (size // 3) + b"z" * (size % 3)
    )


def mutated(draw: random.Random, data: bytes) -> bytes:
    """Some bytes changed, removed or doubled, most of them where headers are likely."""
    changed = bytearray(data)
    for _ in range(draw.randrange(1, 4)):
        if not changed:
            break
        place = min(int(draw.expovariate(1 / 40)), len(changed) - 1)
        match draw.randrange(4):
            case 0:
                changed[place] = draw.randrange(256)
            case 1:
                changed[place] ^= 1 << draw.randrange(8)
            case 2:
                del changed[place : place + draw.randrange(1, 9)]
            case 3:
                changed[place:place] = changed[place : place + draw.randrange(1, 9)]
    return bytes(changed)


def pieces(draw: random.Random, data: bytes) -> Iterator[bytes]:
    """`data` as a transport may deliver it; empty pieces are none of those."""
    mean = max(draw.choice((1.5, 4, 30, 3000, 100_000)), len(data) / 100)
    start = 0
    while start < len(data):
        size = 1 + int(draw.expovariate(1 / mean))
        yield data[start : start + size]
        start += size


def action(draw: random.Random) -> Step:
    """Something that is not received."""
    match draw.randrange(9):
        case 0:
            return Step(
                "send", (draw.choice((1, 2)), draw.choice(("", "text", "ä" * 200, b"bytes", bytes(20_000))), True)
            )
        case 1:
            return Step("ping", (draw.choice((b"", b"ping")), "token"))
        case 2:
            return Step("close", (draw.choice((1000, 1001, 4000, None)), draw.choice(("", "bye"))))
        case 3:
            return Step("fail", (1011, "x" * draw.choice((1, 200))))
        case 4:
            return Step("set_backlogged", (draw.random() < 0.5,))
        case 5:
            return Step("receive_eof", ())
        case 6:
            return Step(draw.choice(("on_deadline", "settle")), ())
        case _:
            return Step(draw.choice(("take", "take_fragment", "ready")), ())


# Observations


class Run:
    """A conversation with one build."""

    def __init__(self, module: ModuleType, client: bool, deflate: bool = False) -> None:
        side = module.Side.CLIENT if client else module.Side.SERVER
        self.session = module.Session(side, **LIMITS)
        self.session.open(0.0, [module.PerMessageDeflate(False, False, 12, 12)] if deflate else ())
        self.now = 0.0

    def take(self, step: Step) -> Any:
        """Do a step; returns what a driver could see afterwards."""
        self.now += 3.0
        session = self.session
        result: Any = None
        try:
            match step.call:
                case "receive_data" | "receive_eof" | "on_deadline" | "settle":
                    getattr(session, step.call)(*step.arguments, self.now)
                case "close" | "fail" | "ping":
                    # Drivers ask first: calls on a connection that isn't open are none of the session's cases.
                    if int(session.state) == 1:
                        getattr(session, step.call)(*step.arguments, self.now)
                case "send":
                    if int(session.state) == 1:
                        session.send(*step.arguments)
                case "set_backlogged":
                    session.set_backlogged(*step.arguments)
                case _:
                    result = shown(getattr(session.inbox, step.call)())
        except Exception as error:
            result = type(error).__name__, str(error)
        return result, self.state()

    def state(self) -> Any:
        session = self.session
        acknowledged, session.acknowledged = session.acknowledged, []
        attention, session.attention = session.attention, False
        return {
            "state": int(session.state),
            "close": (session.close_code, session.close_reason),
            "frames": (str(session.close_rcvd), str(session.close_sent), session.close_rcvd_then_sent),
            "failure": (type(session.failure).__name__, str(session.failure)),
            "outgoing": [predictable(frame) for frame in parse(b"".join(session.take_outgoing()))],
            "eof_wanted": session.eof_wanted,
            "expired": session.expired,
            "attention": attention,
            "acknowledged": acknowledged,
            "deadline": session.deadline(),
            "latency": session.latency,
            "inbox": (len(session.inbox), session.inbox.overflows(), session.inbox.drained()),
        }


def predictable(frame: RawFrame) -> Any:
    """A frame without its mask and, if it is a keepalive ping, without its payload, which are random."""
    keepalive = frame.opcode == 9 and frame.payload not in (b"", b"ping")
    return frame.opcode, frame.fin, frame.rsv, len(frame.payload) if keepalive else frame.payload


def shown(item: Any) -> Any:
    """A message or a fragment, comparable."""
    return (item.data, item.text, item.fin) if type(item).__name__ == "Fragment" else (type(item).__name__, item)


def compare(client: bool, steps: Iterable[Step], deflate: bool = False) -> Difference | None:
    """Run a conversation with both builds until they differ."""
    compiled, interpreted = Run(COMPILED, client, deflate), Run(INTERPRETED, client, deflate)
    done = []
    for step in steps:
        done.append(step)
        one, two = compiled.take(step), interpreted.take(step)
        if one != two:
            return Difference(client, deflate, done, one, two)
    return None


def shortened(difference: Difference) -> Difference:
    """A difference from which no step can be left out."""
    i = 0
    while i < len(difference.steps):
        fewer = difference.steps[:i] + difference.steps[i + 1 :]
        shorter = compare(difference.client, fewer, difference.deflate)
        if shorter is None:
            i += 1
        else:
            difference = shorter
    return difference


def fuzz(draw: random.Random, deflate: bool = False) -> str | None:
    """One random conversation; a description if the builds differ."""
    client = draw.random() < 0.5
    difference = compare(client, conversation(draw, client, deflate), deflate)
    return None if difference is None else str(shortened(difference))


def fuzz_deflate(draw: random.Random) -> str | None:
    """The same with compression."""
    return fuzz(draw, deflate=True)
