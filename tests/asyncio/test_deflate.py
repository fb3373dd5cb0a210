"""asyncio: compression as `serve` and `connect` negotiate it, and as `send` and `broadcast` use it."""

from __future__ import annotations

import asyncio
import sys
import zlib
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import connect, echo, pair, raw_pair, serve
from tests.support.raw import RSV1, RawFrame, RawPeer
from trunkline.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

OFFER = "Sec-WebSocket-Extensions: permessage-deflate"
LONG = "a message that is long enough to be compressed, and that repeats itself: " * 4


class Receiver:
    """Reads frames and decompresses them as any peer would, one stream for all messages."""

    def __init__(self, peer: RawPeer) -> None:
        self.peer = peer
        self.stream = zlib.decompressobj(-15)

    async def read(self) -> tuple[str, bool]:
        """The next message, and whether it was compressed."""
        frames = [await self.peer.read_frame()]
        while not frames[-1].fin:
            frames.append(await self.peer.read_frame())
        data = b"".join(frame.payload for frame in frames)
        compressed = frames[0].rsv == RSV1
        return (self.stream.decompress(data + b"\x00\x00\xff\xff") if compressed else data).decode(), compressed


@pytest.mark.parametrize("client", ["deflate", None])
@pytest.mark.parametrize("server", ["deflate", None])
def test_both_must_want_it(client: str | None, server: str | None) -> None:
    async def main() -> None:
        async with serve(echo, compression=server) as running, connect(running, compression=client) as ws:
            assert ws.request.headers.get("Sec-WebSocket-Extensions") == (
                "permessage-deflate; client_max_window_bits" if client else None
            )
            assert ws.response.headers.get("Sec-WebSocket-Extensions") == (
                "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
                if client and server
                else None
            )
            for message in (LONG, LONG.encode(), "short", "", LONG):
                await ws.send(message)
                assert await ws.recv() == message

    run_clean(main)


@pytest.mark.parametrize("limit", [2**62, sys.maxsize, 2**64])
def test_limits_may_be_as_large_as_one_likes(limit: int) -> None:
    async def main() -> None:
        options: dict[str, Any] = {"max_size": (limit, limit), "max_queue": limit, "write_limit": limit}
        async with (
            serve(echo, compression="deflate", **options) as server,
            connect(server, compression="deflate", **options) as ws,
        ):
            await ws.send(LONG)
            assert await ws.recv() == LONG

    run_clean(main)


def test_it_is_the_default() -> None:
    async def main() -> None:
        async with trunkline.serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with trunkline.connect(f"ws://127.0.0.1:{port}", proxy=None) as ws:
                assert ws.response is not None
                assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]

    run_clean(main)


def test_factories_with_other_settings_take_its_place() -> None:
    async def main() -> None:
        theirs = [ServerPerMessageDeflateFactory(server_no_context_takeover=True)]
        ours = [ClientPerMessageDeflateFactory(client_max_window_bits=10)]
        async with (
            serve(echo, compression="deflate", extensions=theirs) as server,
            connect(server, compression="deflate", extensions=ours) as ws,
        ):
            assert ws.response.headers["Sec-WebSocket-Extensions"] == (
                "permessage-deflate; server_no_context_takeover; client_max_window_bits=10"
            )
            await ws.send(LONG)
            assert await ws.recv() == LONG

    run_clean(main)


@pytest.mark.parametrize("function", [trunkline.connect, lambda uri, **kwargs: trunkline.serve(echo, **kwargs)])
def test_other_compressions_are_unknown(function: Any) -> None:
    with pytest.raises(ValueError, match="unsupported compression: gzip"):
        function("ws://localhost", compression="gzip")


@pytest.mark.parametrize(
    ("message", "compress", "expected"),
    [
        (LONG, None, True),
        (LONG.encode(), None, True),
        (bytearray(LONG.encode()), None, True),
        (memoryview(LONG.encode()), None, True),
        (LONG, False, False),
        (LONG.encode(), False, False),
        (bytearray(LONG.encode()), False, False),
        ("a" * 30, None, False),
        ("a" * 30, True, True),
        (b"a" * 30, True, True),
        (bytearray(b"a" * 30), True, True),
        (["a", "b"], None, True),
        (["a", "b"], True, True),
        (["a", "b"], False, False),
        (trunkline.PreparedMessage(LONG), None, True),
        (trunkline.PreparedMessage(LONG, compress=False), None, False),
        (trunkline.PreparedMessage("a" * 30, compress=True), None, True),
    ],
)
def test_send_compresses_what_is_worth_it_or_what_it_is_told_to(message: Any, compress: Any, expected: bool) -> None:
    def text_of(message: Any) -> str:
        if isinstance(message, trunkline.PreparedMessage):
            message = message.payload
        if isinstance(message, list):
            message = "".join(message)
        return message if isinstance(message, str) else bytes(message).decode()

    async def main() -> None:
        async with raw_pair(OFFER, compression="deflate") as (peer, ws):
            receiver = Receiver(peer)
            for _ in range(2):
                await ws.send(message, compress=compress)
                assert await receiver.read() == (text_of(message), expected)

    run_clean(main)


def test_a_send_that_waits_for_fragments_keeps_its_choice() -> None:
    async def main() -> None:
        async with raw_pair(OFFER, compression="deflate") as (peer, ws):
            receiver = Receiver(peer)
            more = asyncio.Event()

            async def slowly() -> Any:
                yield "first "
                await more.wait()
                yield "last"

            fragments = asyncio.ensure_future(ws.send(slowly()))
            await asyncio.sleep(0)
            later = [asyncio.ensure_future(ws.send(LONG, compress=choice)) for choice in (False, True)]
            await asyncio.sleep(0)
            more.set()
            await asyncio.gather(fragments, *later)
            assert [await receiver.read() for _ in range(3)] == [("first last", True), (LONG, False), (LONG, True)]

    run_clean(main)


def test_a_broadcast_sends_each_what_it_negotiated() -> None:
    async def main() -> None:
        async with (
            raw_pair(OFFER, compression="deflate") as (one, at_one),
            raw_pair(OFFER, compression="deflate") as (other, at_other),
            raw_pair(compression="deflate") as (plain, at_plain),
        ):
            receivers = Receiver(one), Receiver(other), Receiver(plain)
            await at_one.send("only for one of them, and then for all: " + LONG)
            for _ in range(2):
                trunkline.broadcast([at_one, at_other, at_plain], LONG)
            assert (await receivers[0].read())[1]
            for receiver, compressed in zip(receivers, (True, True, False), strict=True):
                assert [await receiver.read() for _ in range(2)] == [(LONG, compressed)] * 2

    run_clean(main)


def test_json_is_compressed_like_any_text() -> None:
    async def main() -> None:
        async with pair(compression="deflate") as (client, server):
            await server.send_json({"text": LONG})
            assert await client.recv_json() == {"text": LONG}

    run_clean(main)


def test_logs_show_messages_as_they_are_meant(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pair(compression="deflate") as (client, server):
            await server.send("x" * 200)
            assert await client.recv() == "x" * 200

    caplog.set_level("DEBUG")
    run_clean(main)
    shown = [record.getMessage() for record in caplog.records if "xxx" in record.getMessage()]
    assert [line[0] for line in shown] == [">", "<"]
    assert all(line.endswith("[200 bytes]") for line in shown)


def test_frames_on_the_wire() -> None:
    async def main() -> None:
        async with raw_pair(OFFER, compression="deflate") as (peer, ws):
            await ws.send("Hello", compress=True)
            assert await peer.read_frame() == RawFrame(1, b"Hello")  # no shorter when compressed
            await ws.send("Hello" * 9, compress=True)
            assert (await peer.read_frame()).rsv == RSV1
            await ws.ping(b"ping" * 31)
            assert (await peer.read_frame()).rsv == 0

    run_clean(main)
