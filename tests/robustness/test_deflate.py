"""Compressed messages that a peer must not send, or sends in a way that hurts: RFC 7692."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator

import pytest

from tests.robustness.conftest import serves
from tests.support.pair import connect
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
    accept_handshake,
    encode_frame,
    header,
    in_segments,
    request,
    scripted_server,
    status_of,
)
from trunkline.exceptions import ConnectionClosedError, InvalidHandshake

MIB = 1 << 20
OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
SYNC = b"\x00\x00\xff\xff"


@pytest.fixture(scope="module")
def shared_deflating_server() -> Iterator[ServerProcess]:
    with server_process("describe", compression="deflate") as server:
        yield server


@pytest.fixture
def server(shared_deflating_server: ServerProcess) -> Iterator[ServerProcess]:
    """A server that answers messages with their type and length, and must be in order after each test."""
    yield shared_deflating_server
    assert shared_deflating_server.alive, shared_deflating_server.log()
    assert asyncio.run(describes(shared_deflating_server.port))
    assert "Traceback" not in shared_deflating_server.log()


async def describes(port: int) -> bool:
    async with await RawPeer.open(port, OFFER) as peer:
        await peer.send(encode_frame(TEXT, bytes.fromhex("f248cdc9c90700"), rsv=RSV1))
        return await peer.read_frame() == RawFrame(TEXT, b"str 5")


def compress(*parts: bytes, level: int = 9) -> list[bytes]:
    """A message in fragments, compressed."""
    stream = zlib.compressobj(level, wbits=-15)
    data = [stream.compress(part) + stream.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return [*data[:-1], data[-1].removesuffix(SYNC)]


def message(*parts: bytes, opcode: int = BINARY) -> bytes:
    """The frames of a compressed message with these fragments."""
    return b"".join(
        encode_frame(CONT if i else opcode, part, fin=i == len(parts) - 1, rsv=0 if i else RSV1)
        for i, part in enumerate(parts)
    )


def answers(server: ServerProcess, *data: bytes, offer: str = OFFER) -> list[bytes | int | None]:
    """The answer to each of these: a payload, or the close code, behind which TCP must end."""

    async def main() -> list[bytes | int | None]:
        results: list[bytes | int | None] = []
        async with await RawPeer.open(server.port, offer) as peer:
            for frames in data:
                await peer.send(frames)
                frame = await peer.read_frame()
                if frame.opcode == CLOSE:
                    assert await peer.read_to_eof() == b""
                    return [*results, frame.close_code]
                results.append(frame.payload)
        return results

    return asyncio.run(main())


# Row 1


def bombs() -> dict[str, bytes]:
    """64 MiB of zeros: whole, in fragments of 1 MiB, and with a small message before it."""
    whole = message(*compress(bytes(64 * MIB)))
    return {
        "whole": whole,
        "fragments": message(*compress(*[bytes(MIB // 4)] * 256)),
        "behind a message": message(*compress(b"small")) + whole,
        "text": message(*compress(b"a" * 64 * MIB), opcode=TEXT),
        "in small frames": message(*in_segments(compress(bytes(64 * MIB))[0], 125)),
    }


@pytest.mark.parametrize("bomb", bombs().values(), ids=bombs().keys())
def test_row01_bomb(server: ServerProcess, bomb: bytes) -> None:
    with server.memory_bounded(8):
        assert answers(server, bomb, b"")[-1] == 1009  # what came before it is answered, too


def test_row01_bombs_at_the_same_time(server: ServerProcess) -> None:
    bomb = message(*compress(bytes(64 * MIB)))

    async def attack() -> int | None:
        async with await RawPeer.open(server.port, OFFER) as peer:
            await peer.send(bomb)
            return await peer.read_close()

    async def main() -> list[int | None]:
        return await asyncio.gather(*(attack() for _ in range(20)))

    with server.memory_bounded(8):
        assert asyncio.run(main()) == [1009] * 20


def test_row01_blocks_that_say_nothing(server: ServerProcess) -> None:
    """A frame of empty blocks decompresses to nothing, so that no limit of size would end it."""
    empty = b"\x00\x00\x00\xff\xff"
    with server.memory_bounded(8):
        assert answers(server, message(empty * 10_000 + b"\x00")) == [b"bytes 0"]
        assert answers(server, message(empty * (MIB // 4))) == [1009]


def test_row01_final_blocks_cost_linear_time(server: ServerProcess) -> None:
    assert answers(server, message(b"\x03\x00" * (MIB // 4) + b"\x00")) == [1002]


def test_row01_a_client_is_not_bombed_either() -> None:
    async def serve_bomb(peer: RawPeer) -> None:
        await accept_handshake(peer, OFFER)
        await peer.send(encode_frame(BINARY, compress(bytes(64 * MIB))[0], rsv=RSV1, mask=None))
        assert await peer.read_close() == 1009

    async def main() -> None:
        async with scripted_server(serve_bomb) as port, connect(port, compression="deflate") as ws:
            with pytest.raises(ConnectionClosedError):
                await ws.recv()

    asyncio.run(main())


# Row 2


@pytest.mark.parametrize("level", [0, 9], ids=["stored", "compressed"])
@pytest.mark.parametrize("opcode", [TEXT, BINARY], ids=["text", "binary"])
@pytest.mark.parametrize("fragments", [1, 3])
def test_row02_limit_exactly_reached_is_accepted_and_one_more_is_1009(
    server: ServerProcess, fragments: int, opcode: int, level: int
) -> None:
    def parts(size: int) -> list[bytes]:
        return list(in_segments(b"a" * size, -(-size // fragments)))

    kind = b"str" if opcode == TEXT else b"bytes"
    fits, too_big = (message(*compress(*parts(size), level=level), opcode=opcode) for size in (MIB, MIB + 1))
    assert answers(server, fits) == [b"%s %d" % (kind, MIB)]
    assert answers(server, too_big) == [1009]


def test_row02_limit_of_a_fragment() -> None:
    with server_process("describe", max_size=[1000, 100], compression="deflate") as server:
        assert answers(server, message(*compress(*[b"a" * 100] * 10))) == [b"bytes 1000"]
        assert answers(server, message(*compress(b"a" * 100, b"a" * 101))) == [1009]


# Row 3


CORRUPT = {
    "no block type": b"\xff\xff",
    "cut": compress(b"The quick brown fox jumps over the lazy dog")[0][:-7],
    "a reference to nothing": bytes.fromhex("f200110000"),
    "stored block with a wrong length": b"\x00\x05\x00\x00\x00Hello\x00",
    "the end that must be left out": compress(b"Hello")[0] + SYNC,
    "behind the limit": compress(bytes(3 * MIB))[0] + b"\xff\xff",
}


@pytest.mark.parametrize("data", CORRUPT.values(), ids=CORRUPT.keys())
def test_row03_corrupt_data(server: ServerProcess, data: bytes) -> None:
    code = 1009 if len(data) > 1000 else 1002
    assert answers(server, message(data)) == [code]
    assert answers(server, message(*compress(b"ok")), message(data)) == [b"bytes 2", code]


def test_row03_corrupt_fragment(server: ServerProcess) -> None:
    assert answers(server, message(*compress(b"good", b"good"), b"\xff\xff")) == [1002]


def test_row03_not_utf8(server: ServerProcess) -> None:
    assert answers(server, message(*compress(b"ab\xff"), opcode=TEXT)) == [1007]
    first, *_ = compress(b"ab\xff", b"")
    assert answers(server, encode_frame(TEXT, first, fin=False, rsv=RSV1)) == [1007]  # before the message ends


# Row 4


DECLINED = [
    *(f"server_max_window_bits={value}" for value in ("7", "8", "16", "99", "0", "-1", "010", "x", "99999999999")),
    *(f"client_max_window_bits={value}" for value in ("7", "16", "99", "0", "-1", "010", "x", "99999999999")),
    "server_max_window_bits",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_max_window_bits=10; server_max_window_bits=10",
    "client_max_window_bits; client_max_window_bits",
    "client_no_context_takeover; client_no_context_takeover",
    "unknown",
    "unknown=1",
]


@pytest.mark.parametrize("parameters", DECLINED)
def test_row04_invalid_offers_are_declined(server: ServerProcess, parameters: str) -> None:
    async def extensions_for(offers: str) -> str | None:
        async with await RawPeer.connect(server.port) as peer:
            await peer.send(request(f"Sec-WebSocket-Extensions: {offers}"))
            head = await peer.read_head()
            assert status_of(head) == 101
            return header(head, "Sec-WebSocket-Extensions")

    invalid = f"permessage-deflate; {parameters}"
    assert asyncio.run(extensions_for(invalid)) is None
    # Section 5.1: the next offer is the fallback.
    assert asyncio.run(extensions_for(f"{invalid}, permessage-deflate")) == (
        "permessage-deflate; server_max_window_bits=12"
    )
    assert answers(server, message(b"\x00"), offer=f"Sec-WebSocket-Extensions: {invalid}") == [1002]


@pytest.mark.parametrize("parameters", ['server_max_window_bits=""', "=", "; ;", "server_max_window_bits= 10=10"])
def test_row04_malformed_offers_are_refused(server: ServerProcess, parameters: str) -> None:
    async def main() -> None:
        async with await RawPeer.connect(server.port) as peer:
            await peer.send(request(f"{OFFER}; {parameters}"))
            assert await peer.outcome() == 400

    asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        *DECLINED[9:],
        "client_max_window_bits=8",  # zlib has no compressor with so small a window
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "client_max_window_bits",
    ],
)
def test_row04_a_client_refuses_invalid_answers(answer: str) -> None:
    async def main() -> None:
        async def answer_badly(peer: RawPeer) -> None:
            await accept_handshake(peer, f"{OFFER}; {answer}")

        async with scripted_server(answer_badly) as port:
            with pytest.raises(InvalidHandshake):
                await connect(port, compression="deflate")

    asyncio.run(main())


def test_row04_a_client_refuses_what_it_did_not_offer() -> None:
    async def main() -> None:
        async def answer_unasked(peer: RawPeer) -> None:
            await accept_handshake(peer, OFFER)

        async with scripted_server(answer_unasked) as port:
            with pytest.raises(InvalidHandshake):
                await connect(port, compression=None)

    asyncio.run(main())


# Row 5


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE], ids=["text", "binary", "ping", "pong", "close"])
def test_row05_rsv1_without_negotiation(server: ServerProcess, opcode: int) -> None:
    payload = b"\x03\xe8" if opcode == CLOSE else b"\x00"
    assert answers(server, encode_frame(opcode, payload, rsv=RSV1), offer="X-Nothing: offered") == [1002]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE], ids=["ping", "pong", "close"])
def test_row05_rsv1_on_control_frames(server: ServerProcess, opcode: int) -> None:
    payload = b"\x03\xe8" if opcode == CLOSE else b"\x00"
    assert answers(server, encode_frame(opcode, payload, rsv=RSV1)) == [1002]


@pytest.mark.parametrize("compressed", [True, False])
def test_row05_rsv1_on_continuations(server: ServerProcess, compressed: bool) -> None:
    first = encode_frame(BINARY, b"\x00", fin=False, rsv=RSV1 if compressed else 0)
    assert answers(server, first + encode_frame(CONT, b"\x00", rsv=RSV1)) == [1002]


@pytest.mark.parametrize("bits", [RSV2, RSV3, RSV1 | RSV2, RSV1 | RSV3])
def test_row05_other_bits(server: ServerProcess, bits: int) -> None:
    assert answers(server, encode_frame(TEXT, b"\x00", rsv=bits)) == [1002]


# Row 6


FORMS = {  # RFC 7692 section 7.2.3: "Hello", but for the last ones
    "compressed": ("f248cdc9c90700", b"bytes 5"),
    "no compression": ("000500faff48656c6c6f00", b"bytes 5"),
    "final block": ("f348cdc9c9070000", b"bytes 5"),
    "two blocks": ("f24805000000ffffcac9c90700", b"bytes 5"),
    "empty": ("00", b"bytes 0"),
    "empty, final": ("030000", b"bytes 0"),
    "nothing": ("", b"bytes 0"),
}


@pytest.mark.parametrize(("data", "answer"), FORMS.values(), ids=FORMS.keys())
def test_row06_forms_of_a_message(server: ServerProcess, data: str, answer: bytes) -> None:
    frames = message(bytes.fromhex(data))
    assert answers(server, frames, frames, message(*compress(b"ok"))) == [answer, answer, b"bytes 2"]


@pytest.mark.parametrize("client_bits", [8, 9, 12, 15])
@pytest.mark.parametrize("server_bits", [9, 12, 15])
@pytest.mark.parametrize("client_takeover", [True, False])
@pytest.mark.parametrize("server_takeover", [True, False])
def test_row06_windows_and_takeover(
    server_takeover: bool, client_takeover: bool, server_bits: int, client_bits: int
) -> None:
    offer = f"{OFFER}; server_max_window_bits={server_bits}; client_max_window_bits={client_bits}"
    offer += "" if server_takeover else "; server_no_context_takeover"
    offer += "" if client_takeover else "; client_no_context_takeover"

    async def main() -> None:
        stream = zlib.compressobj(wbits=-max(9, client_bits))
        inflate = zlib.decompressobj(wbits=-server_bits)
        async with await RawPeer.open(echo.port, offer) as peer:
            for i in range(6):
                payload = f"message number {i} says much the same as the others. ".encode() * (1 + i * 40)
                if not client_takeover:
                    stream = zlib.compressobj(wbits=-max(9, client_bits))
                data = (stream.compress(payload) + stream.flush(zlib.Z_SYNC_FLUSH)).removesuffix(SYNC)
                await peer.send(encode_frame(TEXT, data, rsv=RSV1))
                frame = await peer.read_frame()
                if not server_takeover:
                    inflate = zlib.decompressobj(wbits=-server_bits)
                if frame.rsv:
                    assert inflate.decompress(frame.payload + SYNC) == payload
                else:
                    assert frame.payload == payload

    with server_process("echo", compression="deflate") as echo:
        asyncio.run(main())
        assert asyncio.run(serves(echo.port))


# Row 33


def test_row33_idle_connections_keep_no_compressor(server: ServerProcess) -> None:
    count = 200
    payload = message(*compress(b'{"type": "message", "text": "hello, everybody"}' * 8))

    async def main() -> None:
        # Connections of a first round pay for what is shared.
        peers = [await RawPeer.open(server.port, f"{OFFER}; client_max_window_bits") for _ in range(2 * count)]
        for peer in peers[:count]:
            await peer.send(payload)
            await peer.read_frame()
        before = server.rss()
        for peer in peers[count:]:
            await peer.send(payload)
            await peer.read_frame()
        assert (server.rss() - before) / count < 8 << 10
        for peer in peers:
            peer.close()

    asyncio.run(main())
