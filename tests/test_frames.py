"""frames: close codes, payload of close frames, form of frames in logs."""

import os
import subprocess
import sys
from typing import Any

import pytest
import websockets.frames
import websockets.streams
import websockets.utils
from hypothesis import given
from hypothesis import strategies as st

import trunkline
from tests.support.raw import encode_frame
from trunkline.exceptions import ProtocolError
from trunkline.extensions import Extension
from trunkline.frames import EXTERNAL_CLOSE_CODES, OK_CLOSE_CODES, Close, CloseCode, Frame, Opcode, apply_mask
from trunkline.streams import StreamReader

SENDABLE_CODES = st.one_of(st.sampled_from(sorted(EXTERNAL_CLOSE_CODES)), st.integers(3000, 4999))
REASONS = st.text(st.characters(codec="utf-8"), max_size=30)  # at most 120 bytes


@given(SENDABLE_CODES, REASONS)
def test_close_round_trip(code, reason):
    assert Close.parse(Close(code, reason).serialize()) == Close(code, reason)


@given(st.binary(max_size=125))
def test_close_parse_raises_only_documented_errors(data):
    try:
        close = Close.parse(data)
    except (ProtocolError, UnicodeDecodeError):
        return
    assert not data or close.serialize() == data


def test_empty_close_says_nothing():
    assert Close.parse(b"") == Close(CloseCode.NO_STATUS_RCVD, "")


@pytest.mark.parametrize(
    "data", [b"\x03", b"\x03\xe7", b"\x03\xec", b"\x03\xed", b"\x03\xee", b"\x03\xf7", b"\x13\x88"]
)
def test_close_parse_refuses(data):
    with pytest.raises(ProtocolError):
        Close.parse(data)


def test_close_parse_refuses_bad_utf8():
    with pytest.raises(UnicodeDecodeError):
        Close.parse(b"\x03\xe8\xff")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 70000])
def test_codes_that_may_not_be_sent(code):
    with pytest.raises(ProtocolError, match="invalid status code"):
        Close(code, "").serialize()


def test_close_reason_fits_a_control_frame():
    assert len(Close(1000, "é" * 61 + "x").serialize()) == 125
    with pytest.raises(ProtocolError, match="control frame too long"):
        Close(1000, "é" * 62).serialize()


def test_ok_codes_include_the_absent_one():
    assert sorted(OK_CLOSE_CODES) == [1000, 1001, 1005]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (CloseCode.GOING_AWAY, "1001 (going away) bye"),
        (1006, "1006 (abnormal closure [internal]) bye"),
        (3000, "3000 (registered) bye"),
        (4999, "4999 (private use) bye"),
        (1016, "1016 (unknown) bye"),
    ],
)
def test_close_text(code, text):
    assert str(Close(code, "bye")) == text
    assert str(Close(code, "")) == text.removesuffix(" bye")


@pytest.mark.parametrize(
    ("opcode", "data", "fin", "text"),
    [
        (Opcode.TEXT, "café".encode(), True, "TEXT 'café' [5 bytes]"),
        (Opcode.TEXT, b"c", False, "TEXT 'c' [1 byte, continued]"),
        (Opcode.TEXT, b"", True, "TEXT '' [0 bytes]"),
        (Opcode.TEXT, b"\xff", True, "TEXT ff [binary, 1 byte]"),
        (Opcode.TEXT, b"\x1b[31m", True, "TEXT 1b 5b 33 31 6d [binary, 5 bytes]"),
        (Opcode.TEXT, b"ab\xe2\x82", False, "TEXT 'ab\ufffd' [4 bytes, continued]"),
        (Opcode.TEXT, b"ab\xe2\x82", True, "TEXT 61 62 e2 82 [binary, 4 bytes]"),
        (Opcode.CONT, b"\x82\xacabc", True, "CONT '\ufffd\ufffdabc' [text, 5 bytes]"),
        (Opcode.CONT, b"\xa9abc", True, "CONT '\ufffdabc' [text, 4 bytes]"),
        (Opcode.CONT, b"\xa9" * 4, True, "CONT a9 a9 a9 a9 [binary, 4 bytes]"),
        (Opcode.BINARY, b"\x00\x01", True, "BINARY 00 01 [2 bytes]"),
        (Opcode.BINARY, bytearray(b"x\n"), True, "BINARY 'x\\n' [text, 2 bytes]"),
        (Opcode.BINARY, memoryview(b"x"), True, "BINARY 'x' [text, 1 byte]"),
        (Opcode.PING, "é".encode(), True, "PING c3 a9 [binary, 2 bytes]"),
        (Opcode.PONG, b"ab", True, "PONG 'ab' [text, 2 bytes]"),
        (Opcode.CLOSE, b"\x03\xe8ok", True, "CLOSE 1000 (OK) ok [4 bytes]"),
        (
            Opcode.CLOSE,
            b"\x03\xe8" + b"r" * 100,
            True,
            f"CLOSE 1000 (OK) {'r' * 38}...{'r' * 24} [102 bytes]",
        ),
        (Opcode.CLOSE, b"\x03\xed", True, "CLOSE 03 ed [binary, 2 bytes]"),
        (Opcode.CLOSE, b"", True, "CLOSE '' [0 bytes]"),
        (Opcode.TEXT, b"a" * 73, True, f"TEXT '{'a' * 73}' [73 bytes]"),
        (Opcode.TEXT, b"a" * 74, True, f"TEXT '{'a' * 47}...{'a' * 23}' [74 bytes]"),
        (Opcode.BINARY, bytes(25), True, f"BINARY {bytes(25).hex(' ')} [25 bytes]"),
        (Opcode.BINARY, bytes(26), True, f"BINARY {bytes(16).hex(' ')} ... {bytes(8).hex(' ')} [26 bytes]"),
    ],
)
def test_frame_in_logs(opcode, data, fin, text):
    assert str(Frame(opcode, data, fin)) == text


def test_log_size_is_read_from_the_environment():
    program = "from trunkline.frames import Frame, Opcode; print(Frame(Opcode.TEXT, b'a' * 100))"
    environment = {**os.environ, "WEBSOCKETS_MAX_LOG_SIZE": "12", "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert output.stdout == "TEXT 'aaaaa...aa' [100 bytes]\n"


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (Frame(Opcode.TEXT, b"", rsv1=True), "reserved bits must be 0"),
        (Frame(Opcode.PING, b"", rsv2=True), "reserved bits must be 0"),
        (Frame(Opcode.CONT, b"", rsv3=True), "reserved bits must be 0"),
        (Frame(Opcode.PING, bytes(126)), "control frame too long"),
        (Frame(Opcode.CLOSE, b"", fin=False), "fragmented control frame"),
    ],
)
def test_frames_that_break_the_rules(frame, error):
    with pytest.raises(ProtocolError, match=error):
        frame.check()


def test_frames_that_follow_the_rules():
    Frame(Opcode.PONG, bytes(125)).check()
    Frame(Opcode.BINARY, bytes(126), fin=False).check()


# Parsing and serializing, beside websockets


def parsed(library: Any, data: bytes, **options: Any) -> Any:
    """What `Frame.parse` of a library makes of these bytes: the frame, what it raises, or None if it waits for more."""
    reader = library.streams.StreamReader()
    reader.feed_data(data)
    try:
        next(library.frames.Frame.parse(reader.read_exact, **options))
    except StopIteration as end:
        return str(end.value), bytes(end.value.data), bytes(reader.buffer)
    except Exception as error:
        return type(error).__name__, str(error)
    return None


@pytest.mark.parametrize("masked", [False, True])
@given(
    opcode=st.sampled_from(range(16)),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0x40, 0x20, 0x10]),
    size=st.sampled_from([0, 1, 2, 125, 126, 300, 65535, 65536]),
    wrong_mask=st.booleans(),
    missing=st.sampled_from([0, 0, 1, 5]),
)
def test_parse_as_websockets(
    masked: bool, opcode: int, fin: bool, rsv: int, size: int, wrong_mask: bool, missing: int
) -> None:
    key = b"\x01\x02\x03\x04" if masked is not wrong_mask else None
    data = encode_frame(opcode, (bytes(range(256)) * 257)[:size], fin=fin, rsv=rsv, mask=key)
    data = data[: len(data) - missing] if missing else data + b"rest"
    options = {"mask": masked, "max_size": 65535}
    theirs = parsed(websockets, data, **options)
    ours = parsed(trunkline, data, **options)
    if ours == ("ProtocolError", "control frame too long"):
        assert theirs is None or theirs[0] in ("ProtocolError", "PayloadTooBig")
        return  # we don't wait for the rest of what will be refused
    assert ours == theirs


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\x82\x7e\x00\x7d", "not the minimal encoding"),
        (b"\x82\x7f" + bytes(6) + b"\xff\xff", "not the minimal encoding"),
        (b"\x82\x7f\x80" + bytes(7), "its most significant bit must be 0"),
    ],
)
def test_lengths_that_websockets_accepts_and_the_rfc_forbids(data: bytes, error: str) -> None:
    assert parsed(trunkline, data, mask=False) == ("ProtocolError", f"invalid frame length: {error}")


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_serialize_as_websockets(size: int, kind: Any) -> None:
    data = kind(bytes(range(256)) * 257)[:size]
    ours = Frame(Opcode.BINARY, data, fin=False).serialize(mask=False)
    theirs = websockets.frames.Frame(websockets.frames.Opcode.BINARY, data, fin=False)
    assert ours == theirs.serialize(mask=False)
    masked = Frame(Opcode.TEXT, data).serialize(mask=True)
    assert parsed(trunkline, masked, mask=True) == (str(Frame(Opcode.TEXT, data)), bytes(data), b"")


def test_serialize_refuses_what_must_not_be_sent() -> None:
    for frame in (Frame(Opcode.PING, bytes(126)), Frame(Opcode.TEXT, b"", rsv1=True), Frame(Opcode.PONG, b"", False)):
        with pytest.raises(ProtocolError):
            frame.serialize(mask=False)


def test_extensions_see_the_frame_before_it_leaves_and_after_it_came() -> None:
    class Reverse(Extension):
        def encode(self, frame: Frame) -> Frame:
            return Frame(frame.opcode, bytes(frame.data)[::-1], frame.fin, rsv2=True)

        def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
            assert max_size == 10
            return Frame(frame.opcode, bytes(frame.data)[::-1], frame.fin)

    data = Frame(Opcode.TEXT, b"abc").serialize(mask=False, extensions=[Reverse()])
    assert data == b"\xa1\x03cba"
    reader = StreamReader()
    reader.feed_data(data)
    with pytest.raises(StopIteration) as end:
        next(Frame.parse(reader.read_exact, mask=False, max_size=10, extensions=[Reverse()]))
    assert end.value.value == Frame(Opcode.TEXT, b"abc")


@given(st.binary(max_size=40), st.binary(min_size=4, max_size=4))
def test_apply_mask_as_websockets(data: bytes, mask: bytes) -> None:
    assert apply_mask(data, mask) == websockets.utils.apply_mask(data, mask)


def test_a_mask_has_four_bytes() -> None:
    with pytest.raises(ValueError, match="mask must contain 4 bytes"):
        apply_mask(b"a", b"abc")
