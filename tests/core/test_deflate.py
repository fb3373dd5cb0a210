"""core.deflate: what any receiver makes of our messages, and what we make of those of any sender (RFC 7692)."""

from __future__ import annotations

import random
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.core import deflate
from trunkline.core.deflate import HISTORY, KEPT, SMALLEST, Deflater, Inflater
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import PayloadTooBig, ProtocolError

SYNC = b"\x00\x00\xff\xff"
MIB = 1 << 20
WORDS = [b"message ", b"alice ", b"bob ", b'{"type": "event", "id": ', b"\x00\x01\xff", "你好 ".encode()]


@pytest.fixture(params=["isal", "zlib"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The test runs with ISA-L, from the smallest message on, and without it."""
    if request.param == "zlib":
        monkeypatch.setattr(deflate, "isal", None)
    else:
        pytest.importorskip("isal")
        monkeypatch.setattr(deflate, "ISAL_SIZE", 0)
    name: str = request.param
    return name


def text(size: int, seed: int = 0) -> bytes:
    """Words that repeat, as messages do."""
    choose = random.Random(seed)
    return b"".join(choose.choice(WORDS) for _ in range(size // 3 + 1))[:size]


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that can't be compressed."""
    return random.Random(seed).randbytes(size)


class Receiver:
    """A peer that keeps one inflater for all messages, with a window of exactly the size agreed on."""

    def __init__(self, bits: int, takeover: bool = True) -> None:
        self.bits = bits
        self.takeover = takeover
        self.stream = zlib.decompressobj(-bits)

    def receive(self, data: bytes) -> bytes:
        if not self.takeover:
            self.stream = zlib.decompressobj(-self.bits)
        payload = b""
        data += SYNC
        # Few bytes at a time: only then zlib has no more of the past than its window.
        while piece := self.stream.decompress(data, 61):
            payload += piece
            data = self.stream.unconsumed_tail
        return payload


class Sender:
    """A peer that keeps one compressor for all messages."""

    def __init__(self, bits: int, takeover: bool = True, level: int = 6, memory: int = 8) -> None:
        self.arguments = (level, zlib.DEFLATED, -bits, memory)
        self.takeover = takeover
        self.stream = zlib.compressobj(*self.arguments)

    def send(self, *fragments: bytes) -> list[bytes]:
        """A message in its fragments, the last one without the end of its flush (section 7.2.1)."""
        if not self.takeover:
            self.stream = zlib.compressobj(*self.arguments)
        sent = [self.stream.compress(fragment) + self.stream.flush(zlib.Z_SYNC_FLUSH) for fragment in fragments]
        return [*sent[:-1], sent[-1].removesuffix(SYNC)]


# Sending


payloads = st.one_of(
    st.binary(max_size=40),
    st.builds(text, st.integers(0, 9000), st.integers(0, 9)),
    st.builds(noise, st.integers(0, 3000), st.integers(0, 9)),
)
actions = st.tuples(st.sampled_from(["message", "for all", "fragments"]), st.lists(payloads, min_size=1, max_size=3))


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.usefixtures("library")
@settings(max_examples=40, deadline=None)
@given(plan=st.lists(actions, max_size=8))
def test_every_receiver_gets_what_was_sent_whatever_was_sent_before(
    bits: int, takeover: bool, plan: list[tuple[str, list[bytes]]]
) -> None:
    deflater = Deflater(bits, takeover, {"memLevel": 5})
    receiver = Receiver(bits, takeover)
    for how, parts in plan:
        payload = b"".join(parts)
        if how == "fragments":
            data = b"".join(deflater.fragment(part, i == len(parts) - 1) for i, part in enumerate(parts))
        elif how == "for all":
            compressed = Deflater(bits, True, {}).message_for_all(payload)
            if compressed is None:
                continue
            data = compressed
            deflater.remember(payload)
        else:
            compressed = deflater.message(payload)
            if compressed is None:
                continue
            data = compressed
        assert receiver.receive(data) == payload


all_actions = st.tuples(
    st.sampled_from(["message", "for all", "fragments"]), st.booleans(), st.lists(payloads, max_size=3)
)


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.usefixtures("library")
@settings(max_examples=40, deadline=None)
@given(plan=st.lists(all_actions, max_size=8))
def test_every_message_can_be_compressed(bits: int, takeover: bool, plan: list[tuple[str, bool, list[bytes]]]) -> None:
    """However short, or long: also those that don't get smaller, and those that must not be compressed."""
    deflater = Deflater(bits, takeover, {"memLevel": 5}, every=True)
    receiver = Receiver(bits, takeover)
    for how, stored, parts in plan:
        payload = b"".join(parts)
        data: bytes | None
        if how == "fragments" and parts:
            data = b"".join(deflater.fragment(part, i == len(parts) - 1, stored) for i, part in enumerate(parts))
        elif how == "for all":
            data = Deflater(bits, True, {}, every=True).message_for_all(payload, stored)
            deflater.remember(payload)
        else:
            data = deflater.message(payload, stored)
        assert data is not None
        assert receiver.receive(data) == payload


def test_a_stored_message_tells_nothing_but_its_length() -> None:
    deflater = Deflater(12, True, {}, every=True)
    deflater.message(b"secret" * 50)
    stored = deflater.message(b"secret" * 50, stored=True)
    assert stored is not None
    assert b"secret" * 50 in stored
    assert len(stored) == len(deflater.message(noise(300), stored=True) or b"")


@pytest.mark.usefixtures("library")
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_shared_history_is_what_each_receiver_has_of_it(data: st.DataObject) -> None:
    """Messages to one or some, in any order, to receivers that differ in their windows and in what they got before."""
    agreed = [(bits, takeover) for bits in (9, 12) for takeover in (True, True, False)]
    peers = [(Deflater(bits, takeover, {"memLevel": 5}), Receiver(bits, takeover)) for bits, takeover in agreed]
    for payload in data.draw(st.lists(payloads, max_size=8)):
        prepared = PreparedMessage(payload, compress=True)
        for i in data.draw(st.lists(st.integers(0, len(peers) - 1), max_size=8)):  # some get it more than once
            deflater, receiver = peers[i]
            frame = prepared.deflated(deflater)
            if frame is not prepared:  # it does get smaller
                assert receiver.receive(frame.payload) == payload
        deflater, receiver = peers[data.draw(st.integers(0, len(peers) - 1))]
        compressed = deflater.message(payload)
        if compressed is not None:
            assert receiver.receive(compressed) == payload


@pytest.mark.usefixtures("library")
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_only_some_connections_keep_their_compressor_and_none_of_them_minds(data: st.DataObject) -> None:
    peers = [(Deflater(12, True, {"memLevel": 5}), Receiver(12)) for _ in range(KEPT + 3)]
    for seed in range(3):  # all of them in turn, each of which takes the place of one that comes later
        for deflater, receiver in peers:
            payload = text(200, seed)
            assert receiver.receive(deflater.message(payload) or b"") == payload
    for payload in data.draw(st.lists(payloads, max_size=20)):
        deflater, receiver = peers[data.draw(st.integers(0, 5))]
        compressed = deflater.message(payload)
        if compressed is not None:
            assert receiver.receive(compressed) == payload


def test_who_gets_the_same_messages_shares_one_history() -> None:
    deflaters = [Deflater(12, True, {"memLevel": 5}) for _ in range(100)]
    tracemalloc.start()
    try:
        for seed in range(20):
            prepared = PreparedMessage(text(400, seed))
            for deflater in deflaters:
                assert prepared.deflated(deflater) is not prepared
        del prepared
        grown = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert grown < 2 * HISTORY


@pytest.mark.usefixtures("library")
def test_a_message_for_all_suits_connections_with_a_larger_window_too() -> None:
    payload = text(20000)
    data = Deflater(9, True, {}).message_for_all(payload)
    assert data is not None
    for bits in range(9, 16):
        assert Receiver(bits).receive(data) == payload


@pytest.mark.usefixtures("library")
def test_what_does_not_get_smaller_is_not_compressed_and_not_remembered() -> None:
    deflater, receiver = Deflater(12, True, {}), Receiver(12)
    assert deflater.message(b"") is None
    assert deflater.message(b"abc") is None
    assert deflater.message(noise(1000)) is None
    for _ in range(2):  # the second time it would be short, if the peer knew the first
        assert deflater.message(noise(400)) is None
    payload = text(1000)
    data = deflater.message(payload)
    assert data is not None
    assert receiver.receive(data) == payload


@pytest.mark.usefixtures("library")
def test_takeover_makes_similar_messages_smaller_and_its_absence_makes_them_equal() -> None:
    payload = b'{"type": "message", "user": "alice", "text": "hello, everybody out there"}' * 2
    with_takeover, without = Deflater(12, True, {}), Deflater(12, False, {})
    first, second = with_takeover.message(payload), with_takeover.message(payload)
    assert first is not None
    assert second is not None
    assert len(second) < len(first) / 4
    assert without.message(payload) == without.message(payload) == first


@pytest.mark.usefixtures("library")
def test_history_goes_on_behind_a_message_for_all() -> None:
    deflater = Deflater(12, True, {})
    payload = noise(300) * 2
    first = deflater.message_for_all(payload)
    deflater.remember(payload)
    second = deflater.message(payload)
    assert first is not None
    assert second is not None
    assert len(second) < 30 < 300 < len(first)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("fragments", [[b""], [b"", b""], [b"abc", b""], [b"", b"abc"], [b"", b"", b"abc", b"", b""]])
def test_empty_fragments(fragments: list[bytes]) -> None:
    deflater = Deflater(12, True, {})
    sent = [deflater.fragment(part, i == len(fragments) - 1) for i, part in enumerate(fragments)]
    assert Receiver(12).receive(b"".join(sent)) == b"".join(fragments)
    assert sent[-1] != b"" or fragments[-1] != b""  # section 7.2.3.6: an empty message is 00


@pytest.mark.usefixtures("library")
def test_a_fragment_is_readable_when_it_arrives() -> None:
    deflater, stream = Deflater(12, True, {}), zlib.decompressobj(-12)
    for part in (b"one ", b"two ", b"three "):
        assert stream.decompress(deflater.fragment(part, False)) == part


def test_settings_are_those_of_zlib() -> None:
    payload = text(5000)
    for level in (1, 9):
        expected = zlib.compressobj(level, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
        data = Deflater(15, True, {"level": level, "memLevel": 9, "strategy": zlib.Z_FILTERED}).message(payload)
        assert data == (expected.compress(payload) + expected.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.usefixtures("library")
def test_an_idle_deflater_and_an_idle_inflater_keep_their_history_only() -> None:
    """Where others were used later, that is: the process keeps the compressors of some."""
    messages = [text(400, seed) for seed in range(20)]
    deflaters = [Deflater(12, True, {"memLevel": 5}) for _ in range(50)]
    inflaters = [Inflater(12, True) for _ in range(50)]
    tracemalloc.start()  # sees what zlib allocates, too: it is given Python's allocator
    try:
        for _ in range(KEPT):
            Deflater(12, True, {"memLevel": 5}).message(messages[0])
        before = tracemalloc.get_traced_memory()[0]
        for deflater, inflater in zip(deflaters, inflaters, strict=True):
            for message in messages:
                data = deflater.message(message)
                assert data is not None
                assert inflater.inflate(data) == message
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown / 50 < HISTORY + (1 << 12) + 200


# Receiving


@pytest.mark.parametrize("takeover", [True, False])
@pytest.mark.parametrize("bits", [9, 12, 15])
@pytest.mark.usefixtures("library")
@settings(max_examples=40, deadline=None)
@given(
    messages=st.lists(st.lists(payloads, min_size=1, max_size=3), max_size=8),
    level=st.integers(0, 9),
    memory=st.integers(1, 9),
)
def test_messages_of_every_sender_are_understood(
    bits: int, takeover: bool, messages: list[list[bytes]], level: int, memory: int
) -> None:
    sender, inflater = Sender(bits, takeover, level, memory), Inflater(bits, takeover)
    for parts in messages:
        sent = sender.send(*parts)
        received = [inflater.inflate(data, i == len(sent) - 1) for i, data in enumerate(sent)]
        assert b"".join(received) == b"".join(parts)


@pytest.mark.usefixtures("library")
@given(data=st.data(), message=st.builds(text, st.integers(1, 2000)))
def test_a_message_may_be_cut_into_frames_anywhere(data: st.DataObject, message: bytes) -> None:
    [compressed] = Sender(12).send(message)
    cut = sorted(data.draw(st.lists(st.integers(0, len(compressed)), max_size=4)))
    inflater = Inflater(12, True)
    pieces = [compressed[a:b] for a, b in zip([0, *cut], [*cut, len(compressed)], strict=True)]
    assert b"".join(inflater.inflate(piece, i == len(cut)) for i, piece in enumerate(pieces)) == message


@pytest.mark.usefixtures("library")
def test_a_window_of_8_bits() -> None:
    inflater = Inflater(8, True)
    assert inflater.inflate(bytes.fromhex("f248cdc9c90700")) == b"Hello"
    assert inflater.inflate(bytes.fromhex("f200110000")) == b"Hello"


HELLO = {  # RFC 7692 section 7.2.3
    "compressed": "f248cdc9c90700",
    "no compression": "000500faff48656c6c6f00",
    "final block": "f348cdc9c9070000",
    "final block without the block behind it": "f348cdc9c90700",
    "two blocks": "f24805000000ffffcac9c90700",
}


@pytest.mark.parametrize("data", HELLO.values(), ids=HELLO.keys())
@pytest.mark.usefixtures("library")
def test_forms_of_a_message(data: str) -> None:
    inflater = Inflater(15, True)
    for _ in range(2):
        assert inflater.inflate(bytes.fromhex(data)) == b"Hello"
    assert inflater.inflate(bytes.fromhex("f200110000")) == b"Hello"  # refers to the one before it


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x03\x00\x00", b"\x02\x00"])
def test_empty_messages(data: bytes) -> None:
    inflater = Inflater(15, True)
    for _ in range(2):
        assert inflater.inflate(data) == b""
    assert inflater.inflate(bytes.fromhex(HELLO["compressed"])) == b"Hello"


def final(payload: bytes) -> bytes:
    """A stream that ends with a final block."""
    stream = zlib.compressobj(wbits=-12)
    return stream.compress(payload) + stream.flush()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("takeover", [True, False])
def test_final_blocks_within_a_message(takeover: bool) -> None:
    inflater = Inflater(12, takeover)
    assert inflater.inflate(final(b"abc") * 64 + b"\x00") == b"abc" * 64
    assert inflater.inflate(final(b"abc"), False) + inflater.inflate(final(b"def") + b"\x00") == b"abcdef"
    with pytest.raises(ProtocolError, match="more than 64 final blocks in a frame"):
        inflater.inflate(final(b"abc") * 65 + b"\x00")


@pytest.mark.usefixtures("library")
def test_without_takeover_nothing_may_refer_to_the_message_before() -> None:
    inflater = Inflater(15, False)
    assert inflater.inflate(bytes.fromhex(HELLO["compressed"])) == b"Hello"
    with pytest.raises(ProtocolError, match="decompression failed"):
        inflater.inflate(bytes.fromhex("f200110000"))


def corrupt() -> Iterator[Any]:
    [good] = Sender(15).send(text(300))
    yield pytest.param(b"\xff\xff", id="no block type")
    yield pytest.param(b"\x05", id="a final stored block without length")
    yield pytest.param(b"\x00\x05\x00\xfa\xffHe", id="a stored block that ends early")
    yield pytest.param(b"\x00\x05\x00\xfa\xfeHello", id="a stored block with a wrong length")
    yield pytest.param(bytes.fromhex("f200110000"), id="a reference to nothing")
    yield pytest.param(good + SYNC, id="the end that must be left out")
    for size in range(1, len(good) - 1):
        yield pytest.param(good[:size], id=f"{size} bytes of {len(good)}")


@pytest.mark.parametrize("data", list(corrupt()))
@pytest.mark.usefixtures("library")
def test_corrupt_messages(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="decompression failed"):
        Inflater(15, True).inflate(data)


@pytest.mark.usefixtures("library")
@given(data=st.binary(max_size=200), takeover=st.booleans(), fin=st.booleans())
def test_arbitrary_bytes_are_decompressed_or_refused(data: bytes, takeover: bool, fin: bool) -> None:
    try:
        payload = Inflater(12, takeover).inflate(data, fin, 1000)
    except (ProtocolError, PayloadTooBig):
        return
    assert len(payload) <= 1000


def outcome(*frames: bytes) -> bytes | str:
    inflater = Inflater(12, True)
    try:
        return b"".join(inflater.inflate(data, i == len(frames) - 1, 10_000) for i, data in enumerate(frames))
    except (ProtocolError, PayloadTooBig) as error:
        return type(error).__name__


@pytest.mark.usefixtures("library")
@given(data=st.data(), message=st.builds(text, st.integers(1, 1000)))
def test_a_message_in_one_frame_is_judged_as_it_is_in_two(data: st.DataObject, message: bytes) -> None:
    forms = [Sender(12).send(message)[0], final(message), final(message) + b"\x00", final(b"abc") * 3 + b"\x00"]
    compressed = bytearray(data.draw(st.sampled_from(forms)))
    for place in data.draw(st.lists(st.integers(0, len(compressed) - 1), max_size=2)):
        compressed[place] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(compressed)))
    assert outcome(bytes(compressed)) == outcome(bytes(compressed[:cut]), bytes(compressed[cut:]))


# Limits


@pytest.mark.parametrize("size", [1, 100, 50_000])
@pytest.mark.parametrize("make", [text, noise])
@pytest.mark.usefixtures("library")
def test_a_limit_exactly_reached_is_kept(make: Any, size: int) -> None:
    [data] = Sender(15).send(make(size))
    assert Inflater(15, True).inflate(data, True, size) == make(size)
    with pytest.raises(PayloadTooBig, match=f"exceeds limit of {size - 1} bytes"):
        Inflater(15, True).inflate(data, True, size - 1)


@pytest.mark.usefixtures("library")
def test_a_limit_of_nothing() -> None:
    assert Inflater(15, True).inflate(b"\x00", True, 0) == b""
    with pytest.raises(PayloadTooBig):
        Inflater(15, True).inflate(bytes.fromhex(HELLO["compressed"]), True, 0)


@pytest.mark.usefixtures("library")
def test_a_limit_holds_for_all_final_blocks_of_a_frame_together() -> None:
    data = final(b"abc") * 10 + b"\x00"
    assert Inflater(15, True).inflate(data, True, 30) == b"abc" * 10
    with pytest.raises(PayloadTooBig):
        Inflater(15, True).inflate(data, True, 29)


@pytest.mark.usefixtures("library")
def test_no_more_is_made_of_a_bomb_than_its_limit() -> None:
    [bomb] = Sender(15, level=9).send(bytes(64 * MIB))
    assert len(bomb) < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooBig):
            Inflater(15, True).inflate(bomb, True, MIB)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("library")
def test_what_is_corrupt_behind_the_limit_is_too_big() -> None:
    stream = zlib.compressobj(wbits=-15)
    # ISA-L reads some 100 KiB ahead of what it is asked for
    data = stream.compress(text(300_000)) + stream.flush(zlib.Z_SYNC_FLUSH) + b"\xff\xff"
    with pytest.raises(PayloadTooBig):
        Inflater(15, True).inflate(data, True, 1000)
    with pytest.raises(ProtocolError):
        Inflater(15, True).inflate(data, True, 300_000)


def test_the_smallest_message_that_is_compressed_is_documented() -> None:
    assert SMALLEST == 128
