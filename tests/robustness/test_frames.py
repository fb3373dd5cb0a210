"""Frames that a peer must not send, or sends in a way that hurts: RFC 6455 sections 5, 7 and 8.1."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.process import ServerProcess, server_process
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
    RawPeer,
    close_frame,
    encode_frame,
    in_segments,
    request,
)

MIB = 1 << 20


async def close_code_after(port: int, *data: bytes) -> int | None:
    """The close code that the server answers to these bytes; it must then end the TCP connection."""
    async with await RawPeer.open(port) as peer:
        await peer.send(*data)
        code = await peer.read_close()
        assert await peer.read_to_eof() == b""
        return code


def answer(server: ServerProcess, *data: bytes) -> int | None:
    return asyncio.run(close_code_after(server.port, *data))


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fragments", [1, 3], ids=["whole", "fragmented"])
def test_row02_limit_exactly_reached_is_accepted_and_one_more_is_1009(
    echo_server: ServerProcess, opcode: int, fragments: int
) -> None:
    def message(size: int) -> bytes:
        step = -(-size // fragments)
        parts = list(in_segments(b"a" * size, step))
        return b"".join(
            encode_frame(opcode if n == 0 else CONT, part, fin=n == len(parts) - 1) for n, part in enumerate(parts)
        )

    async def main() -> None:
        async with await RawPeer.open(echo_server.port) as peer:
            await peer.send(message(MIB))
            assert await peer.read_frame() == RawFrame(opcode, b"a" * MIB)

    asyncio.run(main())
    assert answer(echo_server, message(MIB + 1)) == 1009


def test_row02_limit_of_a_fragment() -> None:
    with server_process("echo", max_size=[1000, 100]) as server:
        assert answer(server, encode_frame(TEXT, b"a" * 100), close_frame()) == 1000
        assert answer(server, encode_frame(TEXT, b"a" * 101)) == 1009
        fragments = encode_frame(TEXT, b"", fin=False) + encode_frame(CONT, b"a" * 100, fin=False) * 10
        assert answer(server, fragments, encode_frame(CONT), close_frame()) == 1000
        assert answer(server, fragments, encode_frame(CONT, b"a")) == 1009


@pytest.mark.parametrize("rsv", [RSV1, RSV2, RSV3, RSV1 | RSV2 | RSV3])
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE], ids=["text", "binary", "ping", "pong", "close"])
def test_row05_reserved_bits_without_extension(echo_server: ServerProcess, opcode: int, rsv: int) -> None:
    payload = b"\x03\xe8" if opcode == CLOSE else b"\x00"
    assert answer(echo_server, encode_frame(opcode, payload, rsv=rsv)) == 1002


@pytest.mark.parametrize("rsv", [RSV1, RSV2, RSV3])
def test_row05_reserved_bits_on_a_continuation(echo_server: ServerProcess, rsv: int) -> None:
    assert answer(echo_server, encode_frame(TEXT, b"a", fin=False), encode_frame(CONT, b"b", rsv=rsv)) == 1002


def test_row07_legal_message_in_very_many_fragments() -> None:
    first, last = encode_frame(BINARY, b"f" * 64, fin=False), encode_frame(CONT, b"f" * 64)
    data = first + encode_frame(CONT, b"f" * 64, fin=False) * 65534 + last

    async def main(port: int) -> None:
        async with await RawPeer.open(port) as peer:
            await peer.send(data)
            assert await peer.read_frame() == RawFrame(TEXT, b"bytes 4194304")

    with server_process("describe", max_size=4 * MIB) as server:
        asyncio.run(main(server.port))


@pytest.mark.parametrize("size", [0, 1], ids=["empty", "one byte"])
def test_row07_flood_of_fragments(size: int) -> None:
    flood = encode_frame(BINARY, fin=False) + encode_frame(CONT, b"f" * size, fin=False) * 300_000

    async def main(port: int) -> None:
        async with await RawPeer.open(port) as peer:
            sending = asyncio.create_task(peer.send_until_blocked(flood, limit=len(flood)))
            assert await peer.read_close() in (1008, 1009)
            await sending

    with server_process("echo", max_size=MIB) as server, server.memory_bounded(24):
        asyncio.run(main(server.port))


def test_row08_one_byte_segments_cost_linear_time() -> None:
    def cpu_for(size: int, server: ServerProcess) -> float:
        async def main() -> None:
            async with await RawPeer.open(server.port) as peer:
                for byte in in_segments(encode_frame(BINARY, b"b" * size), 1):
                    await peer.send(byte)
                assert await peer.read_frame() == RawFrame(TEXT, f"bytes {size}".encode())

        before = server.census()["cpu"]
        asyncio.run(main())
        return float(server.census()["cpu"] - before)

    with server_process("describe") as server:
        cpu_for(10_000, server)  # warm up
        base = cpu_for(20_000, server)
        # Quadratic work would need 16 times the CPU for 4 times the bytes.
        assert cpu_for(80_000, server) < 10 * base + 0.05


def test_row08_one_byte_segments_do_not_cost_memory() -> None:
    async def main(port: int) -> None:
        async with await RawPeer.open(port) as peer:
            for byte in in_segments(encode_frame(BINARY, b"b" * 200_000), 1):
                await peer.send(byte)
            assert await peer.read_frame() == RawFrame(TEXT, b"bytes 200000")

    with server_process("describe", ping_interval=None) as server, server.memory_bounded(6):
        asyncio.run(main(server.port))


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        pytest.param(encode_frame(BINARY, length=1 << 63, width=8), {1002, 1009}, id="most significant bit"),
        pytest.param(encode_frame(BINARY, length=(1 << 64) - 1, width=8), {1002, 1009}, id="all bits"),
        pytest.param(encode_frame(BINARY, length=(1 << 63) - 1), {1002, 1009}, id="2^63-1"),
        pytest.param(encode_frame(BINARY, length=1 << 40), {1009}, id="2^40"),
        pytest.param(encode_frame(BINARY, length=1 << 31), {1009}, id="2^31"),
        pytest.param(encode_frame(BINARY, length=1 << 32), {1009}, id="2^32"),
        pytest.param(
            encode_frame(BINARY, b"x" * 10, fin=False) + encode_frame(CONT, length=(1 << 63) - 1),
            {1002, 1009},
            id="fragment and 2^63-1",
        ),
        pytest.param(
            encode_frame(BINARY, b"x", fin=False) + encode_frame(CONT, length=(1 << 64) - 1),
            {1002, 1009},
            id="fragment and 2^64-1",
        ),
        pytest.param(encode_frame(0x3, length=1 << 40), {1002}, id="unknown opcode and 2^40"),
        pytest.param(encode_frame(PING, length=1 << 40), {1002}, id="ping and 2^40"),
        pytest.param(encode_frame(CLOSE, length=1 << 40), {1002}, id="close and 2^40"),
        pytest.param(encode_frame(TEXT, length=1 << 40, rsv=RSV1), {1002}, id="reserved bit and 2^40"),
    ],
)
def test_row13_impossible_lengths_are_refused_from_the_header_alone(
    echo_server: ServerProcess, data: bytes, codes: set[int]
) -> None:
    with echo_server.memory_bounded(4):
        assert answer(echo_server, data) in codes


@pytest.mark.parametrize("opcode", [TEXT, PING], ids=["text", "ping"])
@pytest.mark.parametrize(("size", "width"), [(0, 2), (5, 2), (125, 2), (0, 8), (125, 8), (126, 8), (65535, 8)])
def test_row14_lengths_not_in_the_shortest_form(echo_server: ServerProcess, opcode: int, size: int, width: int) -> None:
    # RFC 6455 section 5.2: "the minimal number of bytes MUST be used to encode the length".
    assert answer(echo_server, encode_frame(opcode, b"a" * size, width=width)) == 1002


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG], ids=["text", "binary", "ping", "pong"])
def test_row15_frames_of_a_client_must_be_masked(echo_server: ServerProcess, opcode: int) -> None:
    assert answer(echo_server, encode_frame(opcode, b"naked", mask=None)) == 1002


def test_row15_close_frame_of_a_client_must_be_masked(echo_server: ServerProcess) -> None:
    assert answer(echo_server, close_frame(1000, mask=None)) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 0xB, 0xC, 0xD, 0xE, 0xF])
@pytest.mark.parametrize("payload", [b"", b"payload"], ids=["empty", "full"])
def test_row16_reserved_opcodes(echo_server: ServerProcess, opcode: int, payload: bytes) -> None:
    assert answer(echo_server, encode_frame(opcode, payload)) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE], ids=["ping", "pong", "close"])
def test_row16_control_frames_are_short_and_whole(echo_server: ServerProcess, opcode: int) -> None:
    payload = b"\x03\xe8"
    assert answer(echo_server, encode_frame(opcode, payload, fin=False)) == 1002
    assert answer(echo_server, encode_frame(opcode, payload + b"a" * 124)) == 1002
    assert answer(echo_server, encode_frame(opcode, payload + b"a" * 65534)) == 1002


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode_frame(CONT, b"a"), id="continuation of nothing"),
        pytest.param(encode_frame(CONT, b"a", fin=False), id="unfinished continuation of nothing"),
        pytest.param(encode_frame(TEXT, b"a") + encode_frame(CONT, b"b"), id="continuation of a finished message"),
        pytest.param(encode_frame(TEXT, b"a", fin=False) + encode_frame(TEXT, b"b"), id="text within a message"),
        pytest.param(encode_frame(TEXT, b"a", fin=False) + encode_frame(BINARY, b"b"), id="binary within a message"),
        pytest.param(
            encode_frame(TEXT, b"a", fin=False) + encode_frame(PING, b"p") + encode_frame(TEXT, b"b", fin=False),
            id="text within a message, after a ping",
        ),
    ],
)
def test_row16_sequence_of_fragments(echo_server: ServerProcess, data: bytes) -> None:
    assert answer(echo_server, data) == 1002


def test_row16_control_frames_may_stand_within_a_message(echo_server: ServerProcess) -> None:
    async def main() -> None:
        async with await RawPeer.open(echo_server.port) as peer:
            await peer.send(
                encode_frame(TEXT, b"a", fin=False),
                encode_frame(PING, b"p" * 125),
                encode_frame(PONG, b"unsolicited"),
                encode_frame(CONT, b"b", fin=False),
                encode_frame(CONT),
            )
            assert await peer.read_frame() == RawFrame(PONG, b"p" * 125)
            assert await peer.read_frame() == RawFrame(TEXT, b"ab")

    asyncio.run(main())


INVALID_UTF8 = {
    "lone continuation": b"\x80",
    "start byte, then ASCII": b"\xc3\x28",
    "overlong of two": b"\xc0\xaf",
    "overlong of three": b"\xe0\x80\xaf",
    "overlong of four": b"\xf0\x80\x80\xaf",
    "high surrogate": b"\xed\xa0\x80",
    "low surrogate": b"\xed\xbf\xbf",
    "surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "above U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "0xFE": b"\xfe",
    "0xFF": b"\xff",
}
TRUNCATED_UTF8 = {"two": b"\xc3", "three": b"\xe2\x82", "four": b"\xf0\x9f\x98"}
invalid_utf8 = pytest.mark.parametrize("bad", INVALID_UTF8.values(), ids=INVALID_UTF8.keys())


@invalid_utf8
def test_row17_invalid_utf8(echo_server: ServerProcess, bad: bytes) -> None:
    for before, after in [(b"", b""), (b"kosme", b"kosme"), ("κόσμε".encode(), b""), (b"a" * 4000, b"z" * 4000)]:
        assert answer(echo_server, encode_frame(TEXT, before + bad + after)) == 1007


@pytest.mark.parametrize("bad", TRUNCATED_UTF8.values(), ids=TRUNCATED_UTF8.keys())
def test_row17_truncated_utf8(echo_server: ServerProcess, bad: bytes) -> None:
    assert answer(echo_server, encode_frame(TEXT, b"ok" + bad)) == 1007
    assert answer(echo_server, encode_frame(TEXT, b"ok" + bad, fin=False), encode_frame(CONT)) == 1007


@invalid_utf8
def test_row17_invalid_utf8_split_across_fragments(echo_server: ServerProcess, bad: bytes) -> None:
    fragments = [encode_frame(CONT, bytes([byte]), fin=False) for byte in bad]
    assert answer(echo_server, encode_frame(TEXT, b"ok", fin=False), *fragments, encode_frame(CONT)) == 1007


@pytest.mark.parametrize("text", ["κόσμε", "€uro", "😀😀", "\U0010ffff", "\ufffe\uffff", "\x00\x7f"])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_row17_valid_utf8_split_across_fragments(echo_server: ServerProcess, text: str, size: int) -> None:
    async def main() -> None:
        async with await RawPeer.open(echo_server.port) as peer:
            await peer.send(
                encode_frame(TEXT, fin=False),
                *(encode_frame(CONT, part, fin=False) for part in in_segments(text.encode(), size)),
                encode_frame(CONT),
            )
            assert await peer.read_frame() == RawFrame(TEXT, text.encode())

    asyncio.run(main())


@invalid_utf8
def test_row17_invalid_utf8_fails_before_the_message_ends(echo_server: ServerProcess, bad: bytes) -> None:
    assert answer(echo_server, encode_frame(TEXT, b"ok" + bad + b"ok", fin=False)) == 1007


@invalid_utf8
def test_row17_invalid_utf8_fails_before_the_frame_ends(echo_server: ServerProcess, bad: bytes) -> None:
    frame = encode_frame(TEXT, b"ok" + bad + b"z" * 1000)
    assert answer(echo_server, frame[: 8 + 2 + len(bad) + 4]) == 1007


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014])
def test_row18_registered_close_codes_are_echoed(echo_server: ServerProcess, code: int) -> None:
    assert answer(echo_server, close_frame(code, b"reason")) == code


@pytest.mark.parametrize("code", [3000, 3999, 4000, 4999])
def test_row18_private_close_codes_are_echoed(echo_server: ServerProcess, code: int) -> None:
    assert answer(echo_server, close_frame(code, b"r" * 123)) == code


@pytest.mark.parametrize("code", [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 32768, 65535])
def test_row18_close_codes_that_must_not_be_sent(echo_server: ServerProcess, code: int) -> None:
    assert answer(echo_server, close_frame(code)) == 1002


def test_row18_malformed_close_frames(echo_server: ServerProcess) -> None:
    assert answer(echo_server, close_frame(None)) is None
    assert answer(echo_server, encode_frame(CLOSE, b"\x03")) == 1002
    assert answer(echo_server, close_frame(1000, b"\xff\xfe")) == 1007
    assert answer(echo_server, close_frame(1000, b"r" * 124)) == 1002


def test_row18_data_after_close_is_ignored(echo_server: ServerProcess) -> None:
    late_frames = encode_frame(TEXT, b"too late") + encode_frame(PING, b"too late") + encode_frame(0x7, b"nonsense")
    assert answer(echo_server, close_frame(4000), late_frames * 100) == 4000


def test_row18_server_ends_the_tcp_connection_first(echo_server: ServerProcess) -> None:
    async def main() -> None:
        async with await RawPeer.open(echo_server.port) as peer:
            await peer.send(close_frame())
            assert await peer.read_close() == 1000
            # We keep our side open: RFC 6455 section 7.1.1 wants the server to close first.
            async with asyncio.timeout(3):
                assert await peer.read_to_eof() == b""

    asyncio.run(main())


def test_row18_frames_in_the_segment_of_the_handshake(echo_server: ServerProcess) -> None:
    async def main() -> None:
        async with await RawPeer.connect(echo_server.port) as peer:
            await peer.send(request(), encode_frame(TEXT, b"early"))
            assert (await peer.read_head()).startswith(b"HTTP/1.1 101 ")
            assert await peer.read_frame() == RawFrame(TEXT, b"early")

    asyncio.run(main())
