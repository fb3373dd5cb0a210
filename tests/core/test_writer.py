"""Frames out, masking keys (RFC 6455 section 5.3), messages prepared for many."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.core.wire import parse, payload_of
from tests.support.raw import BINARY, TEXT, RawFrame
from trunkline.core.writer import PreparedMessage, as_payload, write_frame

LARGE = 1 << 14  # bytes from which on a payload isn't copied


def keys(count: int) -> list[bytes]:
    outgoing: list[bytes] = []
    for _ in range(count):
        write_frame(outgoing, 0x82, b"", True)
    return [frame[2:6] for frame in outgoing]


# Masking keys


def test_masking_keys_are_spread_evenly() -> None:
    drawn = keys(100_000)
    assert len(set(drawn)) > 99_980  # about 1.2 collisions are expected of 32 random bits
    for place in range(4):
        seen = Counter(key[place] for key in drawn)
        expected = len(drawn) / 256
        chi_squared = sum((seen[byte] - expected) ** 2 / expected for byte in range(256))
        assert chi_squared < 255 + 8 * (2 * 255) ** 0.5  # 8 standard deviations


def test_masking_keys_do_not_follow_from_the_one_before() -> None:
    drawn = [int.from_bytes(key) for key in keys(10_000)]
    differences = {(after - before) % 2**32 for before, after in itertools.pairwise(drawn)}
    assert len(differences) > 9_990


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_other_keys() -> None:
    program = (
        "import os\n"
        "from tests.core.test_writer import keys\n"
        "keys(1)\n"
        "reader, writer = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.write(writer, b''.join(keys(50)))\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "child = os.read(reader, 1000)\n"
        "parent = b''.join(keys(50))\n"
        "assert len(child) == len(parent) == 200\n"
        "print(sum(parent[i : i + 4] == child[i : i + 4] for i in range(0, 200, 4)))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "0"


# Frames


@pytest.mark.parametrize("payload", ["", "aé€𝄞", "a" * 20_000, "é" * 20_000, b"", b"\xff", payload_of(20_000)])
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_written_is_what_was_given(payload: bytes | str, masked: bool) -> None:
    outgoing = [b""]
    size = write_frame(outgoing, 0x82, payload, masked)
    assert size == sum(map(len, outgoing))
    (frame,) = parse(b"".join(outgoing))
    assert frame.payload == (payload.encode() if isinstance(payload, str) else payload)
    assert (frame.mask is not None) == masked


def test_a_large_payload_is_not_copied() -> None:
    for size, buffers in ((LARGE - 1, 1), (LARGE, 2)):
        outgoing: list[bytes] = []
        payload = bytes(size)
        write_frame(outgoing, 0x82, payload, False)
        assert len(outgoing) == buffers
        assert (outgoing[-1] is payload) == (buffers == 2)


@pytest.mark.parametrize("masked", [False, True])
def test_lone_surrogates_are_refused_and_nothing_is_written(masked: bool) -> None:
    outgoing: list[bytes] = []
    with pytest.raises(UnicodeEncodeError):
        write_frame(outgoing, 0x81, "a\ud800", masked)
    assert outgoing == []


# Payloads


def test_bytes_are_not_copied() -> None:
    payload = b"abc"
    assert as_payload(payload) is payload


@pytest.mark.parametrize(
    "data",
    [
        bytearray(b"abc"),
        memoryview(b"abc"),
        memoryview(b"xabcx")[1:4],
        memoryview(b"a.b.c.")[::2],
        memoryview(bytearray(b"abc")),
    ],
)
def test_what_can_change_is_copied(data: Any) -> None:
    payload = as_payload(data)
    assert payload == b"abc"
    assert type(payload) is bytes


def test_views_of_other_items_than_bytes_are_taken_as_memory() -> None:
    assert as_payload(memoryview(b"\x01\x02\x03\x04").cast("I")) == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("data", ["text", 5, None, [1], object()])
def test_what_is_not_bytes_like_is_named(data: Any) -> None:
    with pytest.raises(TypeError, match=f"^expected bytes, bytearray or memoryview, got {type(data).__name__}$"):
        as_payload(data)


# PreparedMessage


@pytest.mark.parametrize(
    ("message", "text", "opcode", "payload"),
    [
        ("é", None, TEXT, "é".encode()),
        ("é", True, TEXT, "é".encode()),
        ("é", False, BINARY, "é".encode()),
        (b"x", None, BINARY, b"x"),
        (b"x", False, BINARY, b"x"),
        (b"x", True, TEXT, b"x"),
        (bytearray(b"x"), None, BINARY, b"x"),
        (memoryview(b"x"), None, BINARY, b"x"),
        (payload_of(LARGE), None, BINARY, payload_of(LARGE)),
        (payload_of(70_000), None, BINARY, payload_of(70_000)),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_prepared_messages(message: Any, text: bool | None, opcode: int, payload: bytes, masked: bool) -> None:
    prepared = PreparedMessage(message, text=text)
    assert (prepared.opcode, prepared.payload, len(prepared)) == (opcode, payload, len(payload))
    outgoing: list[bytes] = []
    size = prepared.write(outgoing, masked)
    assert size == sum(map(len, outgoing))
    (frame,) = parse(b"".join(outgoing))
    assert frame._replace(mask=None) == RawFrame(opcode, payload)
    assert (frame.mask is not None) == masked


def test_a_prepared_message_is_encoded_once_for_all_that_is_unmasked() -> None:
    prepared = PreparedMessage("abc")
    first: list[bytes] = []
    second: list[bytes] = []
    prepared.write(first, False)
    prepared.write(second, False)
    assert first[0] is second[0]


def test_a_prepared_message_is_masked_afresh_each_time() -> None:
    prepared = PreparedMessage("abc")
    outgoing: list[bytes] = []
    for _ in range(10):
        prepared.write(outgoing, True)
    assert len({frame.mask for frame in parse(b"".join(outgoing))}) == 10


def test_a_prepared_message_does_not_change_with_its_source() -> None:
    source = bytearray(b"abc")
    prepared = PreparedMessage(source)
    source[:] = b"xyz"
    assert prepared.payload == b"abc"


@pytest.mark.parametrize("message", [5, None, ["a"], {}])
def test_what_cannot_be_prepared(message: Any) -> None:
    with pytest.raises(TypeError, match="expected bytes"):
        PreparedMessage(message)


def test_lone_surrogates_cannot_be_prepared() -> None:
    with pytest.raises(UnicodeEncodeError):
        PreparedMessage("\ud800")
