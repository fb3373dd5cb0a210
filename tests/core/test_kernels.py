"""The kernels, in C where they are compiled, against the pure Python twin and against RFC 6455's own examples.

The C kernels can't be called from here; the reader and the writer that are built on them can.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.wire import MIB, cut, parse, payload_of, read
from tests.support.raw import BINARY, CLOSE, PING, TEXT, apply_mask, encode_frame
from trunkline.core import kernels
from trunkline.core.writer import write_frame

KEYS = [0, 1, 0x80000000, 0xFFFFFFFF, 0x3D21FA37, 0xFF00FF00]


def mask_of(key: int) -> bytes:
    return key.to_bytes(4, "little")


def written(first: int, payload: bytes | str, masked: bool) -> bytes:
    outgoing: list[bytes] = []
    assert write_frame(outgoing, first, payload, masked) == sum(map(len, outgoing))
    return b"".join(outgoing)


# The examples of section 5.7


def test_rfc_examples() -> None:
    assert kernels.frame(0x81, "Hello", False, 0) == bytes.fromhex("81 05 48 65 6c 6c 6f")
    assert kernels.frame(0x81, "Hello", True, 0x3D21FA37) == bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")
    assert kernels.header(0x82, 256) == bytes.fromhex("82 7e 01 00")
    assert kernels.header(0x82, 65536) == bytes.fromhex("82 7f 00 00 00 00 00 01 00 00")
    assert read([bytes.fromhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")]) == ["Hello"]
    assert read([bytes.fromhex("81 05 48 65 6c 6c 6f")], masked=False) == ["Hello"]


# Masking: every length and every offset


@pytest.mark.parametrize("key", KEYS)
def test_reader_unmasks_every_length(key: int) -> None:
    for size in range(301):
        payload = payload_of(size)
        assert read([kernels.frame(0x82, payload, True, key)]) == [payload]


@pytest.mark.parametrize("key", KEYS)
def test_reader_unmasks_at_every_offset(key: int) -> None:
    """A payload cut in two is unmasked in two steps, the second one with the key rotated."""
    for size in [*range(1, 40), 255, 256, 257, 300]:
        payload = payload_of(size)
        frame = kernels.frame(0x82, payload, True, key)
        start = len(frame) - size
        for offset in range(min(size, 40)):
            assert read(cut(frame, [start + offset])) == [payload]


def test_reader_unmasks_wherever_the_payload_stands_in_memory() -> None:
    for before in range(33):
        for size in (1, 7, 8, 31, 32, 33, 255, 256, 300):
            data = encode_frame(PING, payload_of(before)) + encode_frame(BINARY, payload_of(size))
            assert read([data]) == [(PING, payload_of(before)), payload_of(size)]


def test_writer_masks_every_length_as_the_twin_does() -> None:
    for size in range(301):
        payload = payload_of(size)
        frame = written(0x82, payload, True)
        (parsed,) = parse(frame)
        assert parsed.mask is not None
        assert parsed.payload == payload
        assert frame == kernels.frame(0x82, payload, True, int.from_bytes(parsed.mask, "little"))
        assert written(0x82, payload, False) == kernels.frame(0x82, payload, False, 0)


@given(st.binary(max_size=600), st.integers(0, 2**32 - 1))
def test_masking_is_exclusive_or_with_the_repeated_key(payload: bytes, key: int) -> None:
    frame = kernels.frame(0x82, payload, True, key)
    assert frame.endswith(mask_of(key) + bytes(b ^ mask_of(key)[i % 4] for i, b in enumerate(payload)))
    assert read([frame]) == [payload]


@pytest.mark.parametrize("library", ["numpy", "integers"])
@pytest.mark.parametrize("size", [kernels.NUMPY_SIZE, kernels.PIECE, 2 * kernels.PIECE])
def test_large_payloads_are_masked_in_pieces(monkeypatch: pytest.MonkeyPatch, library: str, size: int) -> None:
    """With numpy, where it is installed, as the tests have it, and without."""
    assert kernels.numpy is not None
    if library == "integers":
        monkeypatch.setattr(kernels, "numpy", None)
    for n in range(size - 5, size + 6):
        payload = payload_of(n)
        masked = apply_mask(payload, mask_of(0x3D21FA37))
        assert kernels.frame(0x82, payload, True, 0x3D21FA37).endswith(masked)
        for first in (1, 3, n // 2 + 1):
            filling = kernels.payload_new(n, False)
            kernels.payload_fill(filling, 0, memoryview(masked)[:first], first, 0x3D21FA37)
            kernels.payload_fill(filling, first, memoryview(masked)[first:], n - first, 0x3D21FA37)
            assert kernels.payload_done(filling, False) == payload


# Headers


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("size", "header_size"), [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65535, 4), (65536, 10), (65537, 10)]
)
def test_headers_have_the_shortest_length(size: int, header_size: int, masked: bool) -> None:
    frame = written(0x82, payload_of(size), masked)
    assert len(frame) == header_size + 4 * masked + size
    assert read([frame], masked=masked) == [payload_of(size)]
    assert frame[:2] == bytes([0x82, masked << 7 | {2: size, 4: 126, 10: 127}[header_size]])
    assert int.from_bytes(frame[2:header_size], "big") == (size if header_size > 2 else 0)


@pytest.mark.parametrize("first", [0x01, 0x80, 0x81, 0x82, 0xC1, 0xA2, 0x9A, 0x80 | CLOSE])
def test_first_byte_is_sent_as_it_is(first: int) -> None:
    assert written(first, b"x", False) == bytes([first, 1]) + b"x"


# Text


@pytest.mark.parametrize("place", [None, 0, 1, 7, 8, 31, 32, 33, 255, 299])
@pytest.mark.parametrize("character", ["é", "€", "𝄞"])
def test_text_with_one_character_that_is_not_ascii(place: int | None, character: str) -> None:
    text = list("a" * 300)
    if place is not None:
        text[place] = character
    message = "".join(text)
    for key in KEYS:
        assert read([kernels.frame(0x81, message, True, key)]) == [message]
    assert [frame.payload for frame in parse(written(0x81, message, True))] == [message.encode()]
    assert written(0x81, message, False) == kernels.frame(0x81, message, False, 0)


@given(st.text(max_size=400), st.integers(0, 2**32 - 1))
def test_text(message: str, key: int) -> None:
    assert read([kernels.frame(0x81, message, True, key)]) == [message]
    (frame,) = parse(written(0x81, message, True))
    assert frame.payload == message.encode()


def test_every_ascii_character_in_every_place() -> None:
    for size in range(70):
        message = "".join(chr((size * 7 + i) % 128) for i in range(size))
        (text,) = read([kernels.frame(0x81, message, True, 0x3D21FA37)])
        assert text == message
        assert text.isascii()


# Large payloads


@pytest.mark.parametrize("size", [MIB - 1, MIB, MIB + 1, 3 * MIB + 5])
def test_large_payloads_whole_and_in_pieces(size: int) -> None:
    payload = payload_of(size)
    frame = encode_frame(BINARY, payload)
    assert read([frame]) == [payload]
    assert read(frame[i : i + 65536] for i in range(0, len(frame), 65536)) == [payload]
    assert read(cut(frame, [3, MIB, MIB + 17])) == [payload]
    text = encode_frame(TEXT, payload.translate(bytes(range(128)) * 2))
    (message,) = read(text[i : i + 100_001] for i in range(0, len(text), 100_001))
    assert message.encode() == payload.translate(bytes(range(128)) * 2)


@pytest.mark.parametrize("key", [0, 0x3D21FA37])
@pytest.mark.parametrize("step", [1, 7, 1000, kernels.PIECE - 1, kernels.PIECE, 100_001])
def test_payload_of_the_twin_in_pieces(step: int, key: int) -> None:
    payload, source = payload_of(50_000), kernels.frame(0x82, payload_of(50_000), True, key)[8:]
    building = kernels.payload_new(0, False)
    for i in range(0, len(source), step):
        piece = payload[i : i + step]
        assert kernels.payload_fill(building, i, memoryview(source)[i:], len(piece), key) == piece.isascii()
        assert kernels.payload_slice(building, i, i + len(piece)) == piece
    assert kernels.payload_done(building, False) == payload
    assert len(building.pieces) <= 5, "a peer that sends byte by byte must not cost an object for each"


def test_large_payload_is_masked_as_the_twin_does() -> None:
    payload = payload_of(MIB + 3)
    frame = written(0x82, payload, True)
    assert apply_mask(frame[14:], frame[10:14]) == payload
    assert frame == kernels.frame(0x82, payload, True, int.from_bytes(frame[10:14], "little"))


@given(before=st.binary(max_size=9), after=st.binary(max_size=9), size=st.integers(1, 20))
def test_the_last_bytes_of_two_strings(before: bytes, after: bytes, size: int) -> None:
    assert kernels.last(size, before, after) == (before + after)[-size:]
