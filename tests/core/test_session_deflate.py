"""Compressed messages in the core: RFC 7692 sections 6 and 7.2 as a session keeps them."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.wire import (
    BINARY,
    CLOSE,
    CONT,
    MIB,
    PING,
    PONG,
    RSV1,
    RSV2,
    RSV3,
    TEXT,
    drain,
    parse,
    peer_frame,
    sent,
    splits,
)
from tests.support.raw import RawFrame
from trunkline.core.session import Session, Side
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import PayloadTooBig
from trunkline.extensions import Extension
from trunkline.extensions.permessage_deflate import PerMessageDeflate
from trunkline.frames import Close, Frame

both_sides = pytest.mark.parametrize("side", list(Side))
both_ways = pytest.mark.parametrize("takeover", [True, False], ids=["takeover", "no takeover"])

LONG = "a message that is long enough to be compressed, and that repeats itself: " * 4
HELLO = bytes.fromhex("f248cdc9c90700")  # section 7.2.3.1


def deflating(
    side: Side = Side.SERVER, *, takeover: bool = True, bits: int = 12, every: bool = False, **options: Any
) -> Session:
    """An open session that negotiated compression."""
    session = Session(side, **options)
    session.open(0.0, [PerMessageDeflate(not takeover, not takeover, bits, bits, {"memLevel": 5}, every)])
    return session


def receive(session: Session, *frames: tuple[int, bytes, bool, int]) -> None:
    for opcode, payload, fin, rsv in frames:
        session.receive_data(peer_frame(session, opcode, payload, fin=fin, rsv=rsv), 0.0)


def compressed(payload: bytes) -> bytes:
    """A message as a peer compresses it, without reference to others."""
    stream = zlib.compressobj(wbits=-12)
    return (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


def transfer(sender: Session, receiver: Session) -> list[Any]:
    """The messages that arrive of all that a session has to send: the messages, and whether they were compressed."""
    data = b"".join(sender.take_outgoing())
    receiver.receive_data(data, 0.0)
    assert receiver.close_sent is None
    return [receiver.inbox.take(), [bool(frame.rsv & RSV1) for frame in parse(data)]]


# Sending


@both_sides
@both_ways
def test_a_message_goes_compressed_if_it_is_long_enough(side: Side, takeover: bool) -> None:
    sender, receiver = deflating(side, takeover=takeover), deflating(Side(1 - side), takeover=takeover)
    for message, expected in [
        ("x" * 127, False),
        ("x" * 128, True),
        (b"x" * 127, False),
        (b"x" * 128, True),
        ("", False),
        (LONG, True),
    ]:
        sender.send(TEXT if isinstance(message, str) else BINARY, message)
        assert transfer(sender, receiver) == [message, [expected]]


@both_sides
def test_the_caller_chooses(side: Side) -> None:
    sender, receiver = deflating(side), deflating(Side(1 - side))
    for message, compress, expected in [
        ("x" * 20, True, True),
        (LONG, False, False),
        (LONG, True, True),
        ("", True, False),  # doesn't get smaller
    ]:
        sender.send(TEXT, message, True, compress)
        assert transfer(sender, receiver) == [message, [expected]]
        sender.send_prepared(PreparedMessage(message, compress=compress))
        assert transfer(sender, receiver) == [message, [expected]]


@both_sides
@both_ways
@pytest.mark.parametrize("compress", [None, True, False])
def test_every_message_may_have_to_be_compressed(side: Side, takeover: bool, compress: bool | None) -> None:
    """For clients that take no other once compression is agreed on; a message that must not be is stored in a block."""
    sender = deflating(side, takeover=takeover, every=True)
    receiver = deflating(Side(1 - side), takeover=takeover)
    noise = random.Random(0).randbytes(1000)
    for message in ("", b"", "x", b"\xff", "x" * 127, LONG, LONG, noise, bytes(100_000), "é" * 50):
        sender.send(TEXT if isinstance(message, str) else BINARY, message, True, compress)
        assert transfer(sender, receiver) == [message, [True]]
        sender.send_prepared(PreparedMessage(message, compress=compress))
        assert transfer(sender, receiver) == [message, [True]]
        sender.send(TEXT if isinstance(message, str) else BINARY, message, False, compress)
        sender.send(CONT, "" if isinstance(message, str) else b"", True)
        receiver.receive_data(b"".join(sender.take_outgoing()), 0.0)
        assert receiver.inbox.take() == message


def test_a_message_for_all_is_what_each_of_them_agreed_on() -> None:
    """The same broadcast goes plain to most, and compressed to those that need it."""
    message = PreparedMessage("short")
    for every in (False, True, False, True):
        sender, receiver = deflating(every=every), deflating(Side.CLIENT)
        sender.send_prepared(message)
        assert transfer(sender, receiver) == ["short", [every]]


def test_what_is_sent_plain_is_not_history() -> None:
    sender, receiver = deflating(), deflating(Side.CLIENT)
    sender.send(TEXT, LONG, True, False)
    assert transfer(sender, receiver) == [LONG, [False]]
    sender.send(TEXT, LONG)
    assert transfer(sender, receiver) == [LONG, [True]]


@pytest.mark.parametrize("compress", [None, True, False])
@both_sides
def test_fragments(side: Side, compress: bool | None) -> None:
    sender, receiver = deflating(side), deflating(Side(1 - side))
    for _ in range(2):
        sender.send(TEXT, "frag", False, compress)
        sender.send(PING, b"between")
        sender.send(CONT, "ment", False)
        sender.send(CONT, b"", True)
        assert transfer(sender, receiver) == ["fragment", [compress is not False, False, False, False]]
        sender.send(BINARY, b"whole")
        assert transfer(sender, receiver) == [b"whole", [False]]


def test_control_frames_are_never_compressed() -> None:
    session = deflating()
    session.send(PING, b"x" * 125)
    session.send(PONG, b"x" * 125)
    session.close(1000, "x" * 123, 0.0)
    assert [frame.rsv for frame in sent(session)] == [0, 0, 0]


def test_without_negotiation_nothing_is_compressed() -> None:
    session = Session(Side.SERVER)
    session.open(0.0)
    session.send(TEXT, LONG, True, True)
    session.send_prepared(PreparedMessage(LONG, compress=True))
    assert sent(session) == [RawFrame(TEXT, LONG.encode())] * 2


def test_a_prepared_message_is_compressed_once_for_each_window() -> None:
    message = PreparedMessage(LONG)
    sessions = [deflating(bits=bits, takeover=takeover) for bits in (12, 12, 15) for takeover in (True, False)]
    for session in sessions:
        session.send_prepared(message)
    buffers = [session.take_outgoing() for session in sessions]
    assert [[id(buffer) for buffer in buffers[0]]] * 4 == [[id(buffer) for buffer in each] for each in buffers[:4]]
    assert all(frame.rsv == RSV1 for each in buffers for frame in parse(b"".join(each)))


def test_a_prepared_message_is_masked_with_a_key_of_its_own_each_time() -> None:
    message = PreparedMessage(LONG)
    sessions = [deflating(Side.CLIENT) for _ in range(2)]
    for session in sessions:
        session.send_prepared(message)
    first, second = (next(parse(b"".join(session.take_outgoing()))) for session in sessions)
    assert first.payload == second.payload
    assert first.mask != second.mask


words = st.sampled_from(["message ", "alice ", "bob ", '{"type": "event"} ', "你好 ", "\x00\x01"])
texts = st.lists(words, max_size=60).map("".join) | st.text(max_size=30)
bodies = texts | texts.map(str.encode) | st.binary(max_size=400)
compressions = st.sampled_from([None, True, False])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_every_receiver_gets_every_message_whatever_it_got_before(data: st.DataObject) -> None:
    """A mix of messages to one, to some and in fragments, to receivers that agreed on different windows."""
    side = data.draw(st.sampled_from(Side))
    pairs = []
    for _ in range(3):
        bits, takeover = data.draw(st.sampled_from([9, 12, 15])), data.draw(st.booleans())
        agreed = {"bits": bits, "takeover": takeover}
        pairs.append((deflating(side, **agreed), deflating(Side(1 - side), **agreed)))
    expected: list[list[str | bytes]] = [[] for _ in pairs]
    for _ in range(data.draw(st.integers(1, 8))):
        message, compress = data.draw(bodies), data.draw(compressions)
        opcode = TEXT if isinstance(message, str) else BINARY
        prepared = PreparedMessage(message, compress=compress)
        how = data.draw(st.sampled_from(["send", "broadcast", "fragments"]))
        for i, (sender, _) in enumerate(pairs):
            if not data.draw(st.booleans()):
                continue
            expected[i].append(message)
            if how == "send":
                sender.send(opcode, message, True, compress)
            elif how == "broadcast":
                sender.send_prepared(prepared)
            else:
                middle = len(message) // 2
                sender.send(opcode, message[:middle], False, compress)
                sender.send(CONT, message[middle:], True)
    for (sender, receiver), messages in zip(pairs, expected, strict=True):
        receiver.receive_data(b"".join(sender.take_outgoing()), 0.0)
        assert list(iter(receiver.inbox.take, None)) == messages
        assert receiver.close_sent is None


# Receiving


@both_sides
def test_compressed_messages_are_received(side: Side) -> None:
    session = deflating(side)
    receive(
        session,
        (TEXT, HELLO, True, RSV1),
        (BINARY, HELLO, True, RSV1),
        (TEXT, b"plain", True, 0),
        (TEXT, bytes.fromhex("f200110000"), True, RSV1),  # section 7.2.3.2: refers to the one before it
        (TEXT, b"\x00", True, RSV1),
        (TEXT, b"plain", False, 0),
        (CONT, b" fragments", True, 0),
    )
    assert drain(session.inbox) == [
        "Hello",
        b"Hello",
        "plain",
        "Hello",
        "",
        (b"plain", True, False),
        (b" fragments", True, True),
    ]


def test_a_message_in_fragments_with_a_ping_between_them() -> None:
    session = deflating()
    receive(
        session,
        (TEXT, HELLO[:3], False, RSV1),
        (PING, b"ping", True, 0),
        (CONT, HELLO[3:], True, 0),
        (TEXT, b"plain", True, 0),
    )
    assert session.inbox.take() == "Hello"
    assert session.inbox.take() == "plain"
    assert sent(session) == [RawFrame(PONG, b"ping")]


@pytest.mark.parametrize(
    "frames",
    [
        *([(opcode, HELLO, True, RSV1)] for opcode in (PING, PONG, CLOSE)),
        *([(opcode, HELLO, True, rsv)] for opcode in (TEXT, BINARY, PING) for rsv in (RSV2, RSV3, RSV1 | RSV2)),
        [(TEXT, HELLO, False, RSV1), (CONT, b"", True, RSV1)],
        [(TEXT, b"plain", False, 0), (CONT, b"", True, RSV1)],
        [(TEXT, HELLO, False, RSV1), (PING, b"", True, RSV1)],
    ],
)
def test_reserved_bits_where_they_mean_nothing(frames: list[tuple[int, bytes, bool, int]]) -> None:
    session = deflating()
    receive(session, *frames)
    session.settle(0.0)
    assert session.close_sent == Close(1002, "reserved bits must be 0")


def test_bits_of_a_frame_out_of_order() -> None:
    session = deflating()
    receive(session, (TEXT, HELLO, False, RSV1), (TEXT, HELLO, True, RSV1))
    session.settle(0.0)
    assert session.close_sent == Close(1002, "expected a continuation frame")


@pytest.mark.parametrize("payload", [b"\xff\xff", HELLO[:4], b"\x05", bytes.fromhex("f200110000")])
def test_what_cannot_be_decompressed_is_a_protocol_error(payload: bytes) -> None:
    session = deflating()
    receive(session, (TEXT, payload, True, RSV1))
    assert session.close_sent is not None
    assert session.close_sent.code == 1002
    assert session.close_sent.reason == "decompression failed"


def test_text_is_checked_after_decompression() -> None:
    session = deflating()
    receive(session, (TEXT, compressed(b"ab\xff"), True, RSV1))
    assert session.close_sent == Close(1007, "invalid start byte at position 2")


def test_text_is_refused_at_the_fragment_that_is_wrong() -> None:
    session = deflating()
    stream = zlib.compressobj(wbits=-12)
    first = stream.compress("é".encode()[:1]) + stream.flush(zlib.Z_SYNC_FLUSH)
    receive(session, (TEXT, first, False, RSV1))
    assert session.close_sent is None
    receive(session, (CONT, stream.compress(b"x") + stream.flush(zlib.Z_SYNC_FLUSH), False, 0))
    session.settle(0.0)
    assert session.close_sent == Close(1007, "invalid continuation byte at position 0")


@both_ways
@pytest.mark.parametrize("fragments", [1, 2, 3])
@pytest.mark.parametrize("fill", [b"a", None], ids=["compressible", "incompressible"])
def test_limits_hold_for_what_is_decompressed(fill: bytes | None, fragments: int, takeover: bool) -> None:
    for size, fits in ((30_000, True), (30_001, False)):
        payload = random.Random(1).randbytes(size) if fill is None else fill * size
        session = deflating(takeover=takeover, max_message=30_000)
        stream = zlib.compressobj(wbits=-12)
        for i in range(fragments):
            part = payload[i * size // fragments : (i + 1) * size // fragments]
            last = i == fragments - 1
            data = stream.compress(part) + stream.flush(zlib.Z_SYNC_FLUSH)
            receive(session, (CONT if i else BINARY, data[:-4] if last else data, last, 0 if i else RSV1))
        assert session.inbox.take() == (payload if fits else None)
        session.settle(0.0)
        assert (session.close_sent is None) == fits
        if session.close_sent is not None:
            assert session.close_sent.code == 1009
            assert session.close_sent.reason.endswith("exceeds limit of 30000 bytes")


def test_the_limit_of_a_fragment() -> None:
    session = deflating(max_message=1000, max_frame=100)
    receive(session, (BINARY, compressed(bytes(100)), True, RSV1))
    assert session.inbox.take() == bytes(100)
    receive(session, (BINARY, compressed(bytes(101)), True, RSV1))
    session.settle(0.0)
    assert session.close_sent == Close(1009, "frame exceeds limit of 100 bytes")


def test_a_compressed_frame_that_is_longer_than_anything_allowed_is_refused_by_its_header() -> None:
    session = deflating(max_message=1000)
    session.receive_data(peer_frame(session, BINARY, length=1190, rsv=RSV1), 0.0)
    assert session.close_sent == Close(1009, "frame with 1190 bytes exceeds limit of 1000 bytes")


def test_what_was_refused_is_not_kept() -> None:
    session = deflating(max_message=MIB)
    bomb = compressed(bytes(8 * MIB))
    tracemalloc.start()
    try:
        receive(session, (BINARY, bomb, True, RSV1))
        assert session.close_sent is not None
        assert session.close_sent.code == 1009
        assert tracemalloc.get_traced_memory()[0] < MIB / 2
    finally:
        tracemalloc.stop()


def test_nothing_of_a_connection_without_compression_is_decompressed() -> None:
    session = Session(Side.CLIENT)
    session.open(0.0)
    receive(session, (TEXT, HELLO, True, RSV1))
    assert session.close_sent == Close(1002, "reserved bits must be 0")


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_any_split_of_the_input_gives_the_same(data: st.DataObject) -> None:
    sender = deflating(Side.CLIENT)
    for message in data.draw(st.lists(bodies, max_size=5)):
        opcode, compress = TEXT if isinstance(message, str) else BINARY, data.draw(compressions)
        if data.draw(st.booleans()):
            sender.send(opcode, message[:5], False, compress)
            sender.send(CONT, message[5:], True)
        else:
            sender.send(opcode, message, True, compress)
    stream = b"".join(sender.take_outgoing())
    whole, cut = deflating(), deflating()
    whole.receive_data(stream, 0.0)
    for piece in data.draw(splits(stream)):
        cut.receive_data(piece, 0.0)
    assert drain(cut.inbox) == drain(whole.inbox)


# With other extensions, and with a trace


class Reverse(Extension):
    """Turns payloads round and says so in RSV2."""

    name = "reverse"  # type: ignore[assignment]

    def encode(self, frame: Frame) -> Frame:
        return Frame(frame.opcode, bytes(frame.data)[::-1], frame.fin, frame.rsv1, True, frame.rsv3)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        assert not frame.rsv1, "decompression is nearer to the wire"
        return Frame(frame.opcode, bytes(frame.data)[::-1], frame.fin, False, False, frame.rsv3)


class Renamed(PerMessageDeflate):
    """A subclass, which the session can't treat as what it isn't any more."""


@pytest.mark.parametrize("kind", [PerMessageDeflate, Renamed])
def test_beside_another_extension(kind: type[PerMessageDeflate]) -> None:
    sender, receiver = Session(Side.SERVER), Session(Side.CLIENT)
    for session in (sender, receiver):
        session.open(0.0, [Reverse(), kind(False, False, 12, 12)])
    sender.send(TEXT, LONG)
    sender.send_prepared(PreparedMessage(LONG))
    sender.send(TEXT, LONG[:9], False)
    sender.send(CONT, LONG[9:])
    data = b"".join(sender.take_outgoing())
    assert [frame.rsv for frame in parse(data)] == [RSV1 | RSV2, RSV1 | RSV2, RSV1 | RSV2, RSV2]
    assert len(data) < len(LONG)
    receiver.receive_data(data, 0.0)
    assert list(iter(receiver.inbox.take, None)) == [LONG] * 3


def test_another_extension_nearer_to_the_wire() -> None:
    class Seal(Extension):
        name = "seal"  # type: ignore[assignment]

        def encode(self, frame: Frame) -> Frame:
            frame.data = bytes(byte ^ 1 for byte in frame.data)
            return frame

        def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
            return self.encode(frame)

    sender, receiver = Session(Side.SERVER), Session(Side.CLIENT)
    for session in (sender, receiver):
        session.open(0.0, [PerMessageDeflate(False, False, 12, 12), Seal()])
    sender.send(TEXT, LONG)
    sender.send(PING, b"ping")
    sender.send(TEXT, LONG[:9], False)
    sender.send(CONT, LONG[9:])
    receiver.receive_data(b"".join(sender.take_outgoing()), 0.0)
    assert list(iter(receiver.inbox.take, None)) == [LONG] * 2
    assert len(sent(receiver)) == 1


def test_a_trace_shows_messages_as_the_application_means_them() -> None:
    seen: list[str] = []
    sender, receiver = (Session(side, max_message=1000) for side in Side)
    for session in (sender, receiver):
        session.trace = lambda outgoing, frame: seen.append(f"{'>' if outgoing else '<'} {frame}")
        session.open(0.0, [PerMessageDeflate(False, False, 12, 12)])
    sender.send(TEXT, "x" * 20, True, True)
    sender.send_prepared(PreparedMessage("y" * 20, compress=True))
    sender.send(TEXT, "z" * 20, False)
    sender.send(CONT, b"")
    assert transfer(sender, receiver)[1] == [True, True, True, False]
    shown = [f"TEXT '{c * 20}' [20 bytes]" for c in "xy"] + [f"TEXT '{'z' * 20}' [20 bytes, continued]"]
    shown.append("CONT '' [0 bytes]")
    assert [line[2:] for line in seen] == shown * 2


def test_the_limit_of_an_extension_is_the_limit_of_the_message() -> None:
    session = Session(Side.SERVER, max_message=1000)
    session.open(0.0, [Renamed(False, False, 12, 12)])
    receive(session, (BINARY, compressed(bytes(1001)), True, RSV1))
    assert session.close_sent == Close(1009, "frame exceeds limit of 1000 bytes")
    assert isinstance(session.failure, PayloadTooBig)
