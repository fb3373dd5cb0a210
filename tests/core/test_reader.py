"""Every rule that the wire alone can break, limits, and splits (RFC 6455 sections 5 and 8.1)."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.test_utf8 import BAD
from tests.core.wire import FAULTS, MASK, MIB, Recorder, parse, payload_of, read, splits, streams
from tests.support.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, encode_frame
from trunkline.core.reader import Reader
from trunkline.exceptions import PayloadTooBig, ProtocolError, TooManyFragments
from trunkline.frames import Close

Refusal = ProtocolError | PayloadTooBig | TooManyFragments | UnicodeDecodeError
ERRORS = {1002: ProtocolError, 1007: UnicodeDecodeError, 1009: (PayloadTooBig, TooManyFragments)}


def outcome(pieces: Iterable[bytes], *, masked: bool = True, **limits: int | None) -> tuple[list[Any], Refusal | None]:
    """The events of a stream, and the error that ends it. Any other than the documented errors fails the test."""
    recorder = Recorder()
    reader = Reader(recorder, masked, **limits)
    try:
        for piece in pieces:
            reader.receive_data(piece)
    except (ProtocolError, PayloadTooBig, TooManyFragments, UnicodeDecodeError) as error:
        return recorder.events, error
    return recorder.events, None


def told(error: Refusal | None) -> Any:
    """The facts of an error, comparable."""
    if isinstance(error, UnicodeDecodeError):  # its `object` is what was at hand
        return error.start, error.end, error.reason
    return type(error), str(error)


# Rules


@pytest.mark.parametrize(("data", "code", "reason"), [pytest.param(*row[1:], id=row[0]) for row in FAULTS])
def test_faults(data: bytes, code: int, reason: str) -> None:
    events, error = outcome([data], max_message=MIB)
    if error is None:  # what is wrong inside a close frame is for the session to find
        opcode, payload = events[-1]
        assert opcode == CLOSE
        with pytest.raises(ERRORS[code]):
            Close.parse(payload)
        return
    assert isinstance(error, ERRORS[code])
    if isinstance(error, UnicodeDecodeError):
        assert f"{error.reason} at position {error.start}" == reason
    elif not isinstance(error, TooManyFragments):
        assert str(error) == reason


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_a_server_must_not_mask(opcode: int) -> None:
    with pytest.raises(ProtocolError, match="incorrect masking"):
        read([encode_frame(opcode, b"x")], masked=False)
    read([encode_frame(opcode, b"x", mask=None)], masked=False)


def test_what_the_first_two_bytes_break_is_refused_at_the_second() -> None:
    for name, data, _, reason in FAULTS:
        if reason in ("reserved bits must be 0", "invalid opcode", "incorrect masking") and data[0] != 0x01:
            events, error = outcome([data[:2]])
            assert isinstance(error, ProtocolError), name
            assert events == []


def test_what_a_length_breaks_is_refused_before_the_payload() -> None:
    for length, size in [(2**63, 10), (2**63 - 1, 10), (MIB + 1, 10)]:
        data = encode_frame(TEXT, length=length)
        assert outcome([data[: size - 1]], max_message=MIB) == ([], None)
        assert outcome([data[:size]], max_message=MIB)[1] is not None


@pytest.mark.parametrize("size", [0, 1, 125])
@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_may_stand_inside_a_message(opcode: int, size: int) -> None:
    stream = (
        encode_frame(BINARY, b"ab", fin=False)
        + encode_frame(opcode, payload_of(size))
        + encode_frame(CONT, b"", fin=False)
        + encode_frame(opcode, payload_of(size))
        + encode_frame(CONT, b"c")
    )
    control = (opcode, payload_of(size))
    expected = [(b"ab", False, False), control, (b"", False, False), control, (b"c", False, True)]
    assert read([stream]) == expected
    assert read(stream[i : i + 1] for i in range(len(stream))) == expected


def test_messages_have_the_types_of_python() -> None:
    for size in (0, 5, 200_000):
        for opcode, kind in ((TEXT, str), (BINARY, bytes)):
            data = encode_frame(opcode, b"a" * size)
            for pieces in ([data], [data[:3], data[3:-1], data[-1:]]):
                (message,) = read(pieces)
                assert type(message) is kind
                assert len(message) == size


def test_nothing_counts_after_stop() -> None:
    recorder = Recorder()
    reader = Reader(recorder, True)
    data = encode_frame(TEXT, b"abc")
    reader.receive_data(data + data[:8])
    assert not reader.stopped
    reader.stop()
    assert reader.stopped
    reader.receive_data(data[8:] + b"\xff" * 20)
    assert recorder.events == ["abc"]


# Text is refused at the first wrong byte


@pytest.mark.parametrize(("text", "wrong", "start"), BAD)
@pytest.mark.parametrize("prefix", [b"", b"a" * 100, "é".encode() * 3])
def test_text_fails_fast(prefix: bytes, text: bytes, wrong: int, start: int) -> None:
    """The rest of the frame never comes, so a reader that waits for it would not refuse."""
    text = prefix + text
    wrong += len(prefix)
    frame = encode_frame(TEXT, text + b"a" * 100)
    header = len(frame) - len(text) - 100
    assert outcome([frame[: header + wrong]]) == ([], None)
    _, error = outcome([frame[: header + wrong], frame[header + wrong : header + wrong + 1]])
    assert isinstance(error, UnicodeDecodeError)
    assert error.start == len(prefix) + start


@pytest.mark.parametrize(("text", "wrong", "start"), BAD)
def test_text_in_fragments_fails_fast(text: bytes, wrong: int, start: int) -> None:
    frames = [encode_frame(CONT if i else TEXT, text[i : i + 1], fin=False) for i in range(len(text))]
    events, error = outcome(frames[:wrong])
    assert error is None
    assert len(events) == wrong
    _, error = outcome(frames[: wrong + 1])
    assert isinstance(error, UnicodeDecodeError)
    assert error.start == start


def test_a_ping_in_the_middle_of_a_character_does_no_harm() -> None:
    stream = encode_frame(TEXT, b"\xe2", fin=False) + encode_frame(PING, b"\xff") + encode_frame(CONT, b"\x82\xac")
    assert read([stream[i : i + 1] for i in range(len(stream))]) == [
        (b"\xe2", True, False),
        (PING, b"\xff"),
        (b"\x82\xac", True, True),
    ]


def test_binary_is_not_text() -> None:
    stream = encode_frame(BINARY, b"\xff", fin=False) + encode_frame(CONT, b"\xff") + encode_frame(BINARY, b"\xff" * 9)
    assert read([stream[:9], stream[9:]]) == [(b"\xff", False, False), (b"\xff", False, True), b"\xff" * 9]


# Limits


@pytest.mark.parametrize("limit", [0, 1, 125, 126, 65535, 65536, MIB])
def test_limit_of_a_message_is_reached_but_not_exceeded(limit: int) -> None:
    assert read([encode_frame(BINARY, bytes(limit))], max_message=limit) == [bytes(limit)]
    with pytest.raises(PayloadTooBig) as caught:
        read([encode_frame(BINARY, length=limit + 1)], max_message=limit)
    assert str(caught.value) == f"frame with {limit + 1} bytes exceeds limit of {limit} bytes"


def test_limit_of_a_message_holds_for_the_sum_of_its_fragments() -> None:
    start = encode_frame(BINARY, bytes(60), fin=False)
    end = encode_frame(CONT, bytes(40))
    assert len(read([start + end + start + end], max_message=100)) == 4  # the count starts again with each message
    with pytest.raises(PayloadTooBig) as caught:
        read([start + encode_frame(CONT, length=41)], max_message=100)
    assert str(caught.value) == "frame with 41 bytes after reading 60 bytes exceeds limit of 100 bytes"
    assert (caught.value.size, caught.value.max_size, caught.value.current_size) == (41, 100, 60)


def test_limit_of_a_frame() -> None:
    start, end = encode_frame(BINARY, bytes(60), fin=False), encode_frame(CONT, bytes(60))
    assert len(read([start + end], max_frame=60)) == 2
    with pytest.raises(PayloadTooBig, match=r"^frame with 61 bytes exceeds limit of 60 bytes$"):
        read([encode_frame(BINARY, length=61)], max_frame=60)
    with pytest.raises(PayloadTooBig, match=r"^frame with 61 bytes exceeds limit of 60 bytes$"):
        read([start + encode_frame(CONT, length=61)], max_frame=60, max_message=1000)


@pytest.mark.parametrize("limit", [2**62, sys.maxsize, 2**64])
def test_a_limit_may_be_as_large_as_one_likes(limit: int) -> None:
    assert read([encode_frame(BINARY, b"x")], max_message=limit, max_frame=limit) == [b"x"]


def test_limits_do_not_concern_control_frames() -> None:
    assert read([encode_frame(PING, bytes(125))], max_message=0, max_frame=0) == [(PING, bytes(125))]


def test_a_message_in_small_fragments_is_not_an_attack() -> None:
    """Autobahn 9.3.1: 4 MiB in fragments of 64 bytes."""
    fragments = 4 * MIB // 64
    middle = encode_frame(CONT, bytes(64), fin=False)
    stream = encode_frame(BINARY, bytes(64), fin=False) + middle * (fragments - 2) + encode_frame(CONT, bytes(64))
    assert len(read([stream], max_message=4 * MIB)) == fragments


@pytest.mark.parametrize(
    ("max_message", "allowed"), [(4 * MIB, 65536), (MIB, 16384), (10, 4096), (0, 4096), (None, 300_000)]
)
def test_empty_fragments_cost_something(max_message: int | None, allowed: int) -> None:
    stream = encode_frame(BINARY, fin=False) + encode_frame(CONT, fin=False) * 299_999
    events, error = outcome([stream], max_message=max_message)
    assert len(events) == allowed
    if allowed == 300_000:
        assert error is None
    else:
        assert isinstance(error, TooManyFragments)
        assert error.max_fragments == allowed


def test_count_of_fragments_can_be_limited_by_the_environment() -> None:
    program = (
        "from tests.core.test_reader import outcome\n"
        "from tests.support.raw import encode_frame\n"
        "start, middle, end = encode_frame(2, fin=False), encode_frame(0, fin=False), encode_frame(0)\n"
        "print(outcome([start + middle + end + start + middle + end])[1])\n"
        "print(outcome([start + middle * 2 + end])[1])\n"
    )
    environment = os.environ | {"WEBSOCKETS_MAX_FRAGMENTS": "3", "PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == ["None", "fragmented message exceeds limit of 3 frames"]


def test_a_header_alone_costs_little_memory() -> None:
    frame = encode_frame(BINARY, length=2**40)
    reader = Reader(Recorder(), True)
    tracemalloc.start()
    try:
        reader.receive_data(frame)
        reader.receive_data(bytes(10))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1.5 * MIB


# Splits


@given(st.data(), st.booleans())
def test_any_split_gives_the_same(data: st.DataObject, masked: bool) -> None:
    stream = data.draw(streams(masked))
    assert read(data.draw(splits(stream)), masked=masked) == read([stream], masked=masked)


@given(streams())
def test_what_is_found_is_what_the_frames_say(stream: bytes) -> None:
    expected: list[Any] = []
    text = False
    for frame in parse(stream):
        if frame.opcode in (TEXT, BINARY):
            text = frame.opcode == TEXT
        if frame.opcode >= CLOSE:
            expected.append((frame.opcode, frame.payload))
        elif frame.fin and frame.opcode != CONT:
            expected.append(frame.payload.decode() if text else frame.payload)
        else:
            expected.append((frame.payload, text, frame.fin))
    assert read([stream]) == expected


@given(st.data(), st.binary(max_size=200), st.booleans())
def test_random_bytes_raise_documented_errors_only_and_the_same_for_any_split(
    data: st.DataObject, stream: bytes, masked: bool
) -> None:
    events, error = outcome([stream], masked=masked, max_message=100)
    again, same_error = outcome(data.draw(splits(stream)), masked=masked, max_message=100)
    assert again == events
    assert told(same_error) == told(error)


HEADERS = st.tuples(st.sampled_from([0x00, 0x80, 0x01, 0x81, 0x02, 0x82, 0x88, 0x89, 0x8A]), st.integers(0x80, 0x8A))


@given(st.data(), st.lists(st.tuples(HEADERS, st.binary(max_size=12)), max_size=8))
def test_random_frames_raise_documented_errors_only_and_the_same_for_any_split(
    data: st.DataObject, frames: list[tuple[tuple[int, int], bytes]]
) -> None:
    stream = b"".join(bytes(header) + MASK + payload for header, payload in frames)
    events, error = outcome([stream], max_message=30, max_frame=9)
    again, same_error = outcome(data.draw(splits(stream)), max_message=30, max_frame=9)
    assert again == events
    assert told(same_error) == told(error)
