"""Compressed messages between trunkline and other implementations, in both roles, whatever they agree on."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import Accepted, connect, port_of, serve
from trunkline.exceptions import NegotiationError
from trunkline.extensions.permessage_deflate import ClientPerMessageDeflateFactory, ServerPerMessageDeflateFactory

Opened = contextlib.AbstractAsyncContextManager[Any]


def say(i: int, size: int) -> str:
    choose = random.Random(i)
    return "".join(choose.choice(["hello ", "world ", "你好 ", f"{i} "]) for _ in range(size))


MESSAGES: list[str | bytes] = [
    *(say(i, size) for i, size in enumerate([1, 5, 40, 40, 500, 40, 8000, 40, 0, 40])),
    *(say(i, 100).encode() for i in range(5)),
    random.Random(1).randbytes(3000),
    bytes(100_000),
    "the last one " * 20,
]


# Peers: each is a server that echoes, and a client whose messages our server echoes.


@contextlib.asynccontextmanager
async def websockets_server() -> AsyncIterator[int]:
    from websockets.asyncio.server import serve as websockets_serve

    async def echo(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    async with websockets_serve(echo, "127.0.0.1", 0) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def websockets_client(port: int) -> None:
    from websockets.asyncio.client import connect as websockets_connect

    async with websockets_connect(f"ws://127.0.0.1:{port}", proxy=None) as ws:
        assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
        for message in MESSAGES:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send([say(1, 30), say(2, 30), ""])
        assert await ws.recv() == say(1, 30) + say(2, 30)


@contextlib.asynccontextmanager
async def picows_server() -> AsyncIterator[int]:
    import picows.websockets

    async def echo(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    async with picows.websockets.serve(echo, "127.0.0.1", 0) as server:
        yield next(iter(server.sockets)).getsockname()[1]


async def picows_client(port: int) -> None:
    import picows.websockets

    async with picows.websockets.connect(f"ws://127.0.0.1:{port}", proxy=None) as ws:
        assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
        for message in MESSAGES:
            await ws.send(message)
            assert await ws.recv() == message


@contextlib.asynccontextmanager
async def aiohttp_server() -> AsyncIterator[int]:
    from aiohttp import WSMsgType, web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            else:
                await ws.send_bytes(message.data)
        return ws

    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def aiohttp_client(port: int, bits: int = 15) -> None:
    from aiohttp import ClientSession

    async with (
        ClientSession() as session,
        session.ws_connect(f"http://127.0.0.1:{port}/", compress=bits) as ws,
    ):
        assert ws.compress
        for message in MESSAGES:
            await (ws.send_str(message) if isinstance(message, str) else ws.send_bytes(message))
            assert (await ws.receive()).data == message


SERVERS: dict[str, Callable[[], Opened]] = {
    "websockets": websockets_server,
    "picows": picows_server,
    "aiohttp": aiohttp_server,
}
CLIENTS: dict[str, Callable[[int], Any]] = {
    "websockets": websockets_client,
    "picows": picows_client,
    "aiohttp": aiohttp_client,
}

SETTINGS: dict[str, dict[str, Any] | None] = {
    "as by default": None,
    "largest windows": {},
    "smallest windows": {"server_max_window_bits": 9, "client_max_window_bits": 9},
    "without takeover": {"server_no_context_takeover": True, "client_no_context_takeover": True},
    "takeover by the client": {"server_no_context_takeover": True},
    "takeover by the server": {"client_no_context_takeover": True},
}
# Accepts offers that limit the server, and then doesn't say that it keeps to the limits (RFC 7692 section 7.1.1.1).
IGNORES_LIMITS = {"picows"}


def is_deflating(ws: Any) -> bool:
    return "permessage-deflate" in ws.response.headers.get("Sec-WebSocket-Extensions", "")


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("peer", SERVERS)
def test_our_client(peer: str, settings: dict[str, Any] | None) -> None:
    pytest.importorskip(peer)
    extensions = None if settings is None else [ClientPerMessageDeflateFactory(**settings)]

    async def is_refused() -> None:
        async with SERVERS[peer]() as port:
            with pytest.raises(NegotiationError):
                await connect(port, compression="deflate", extensions=extensions)

    async def main() -> None:
        async with (
            SERVERS[peer]() as port,
            connect(port, compression="deflate", extensions=extensions) as ws,
        ):
            assert is_deflating(ws)
            for compress in (None, True, False):
                for message in MESSAGES:
                    await ws.send(message, compress=compress)
                    await ws.send(trunkline.PreparedMessage(message, compress=compress))
                    assert [await ws.recv(), await ws.recv()] == [message] * 2
            await ws.send([say(1, 30), "", say(2, 30)])
            assert await ws.recv() == say(1, 30) + say(2, 30)

    limits = settings is not None and settings.keys() & {"server_no_context_takeover", "server_max_window_bits"}
    run_clean(is_refused if limits and peer in IGNORES_LIMITS else main)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS.keys())
@pytest.mark.parametrize("peer", CLIENTS)
def test_our_server(peer: str, settings: dict[str, Any] | None) -> None:
    pytest.importorskip(peer)
    extensions = None if settings is None else [ServerPerMessageDeflateFactory(**settings)]

    async def echo(ws: Any) -> None:
        assert is_deflating(ws)
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with serve(echo, compression="deflate", extensions=extensions) as server:
            await CLIENTS[peer](port_of(server))

    run_clean(main)


@pytest.mark.parametrize("bits", range(9, 16))
def test_windows_of_aiohttp(bits: int) -> None:
    pytest.importorskip("aiohttp")

    async def echo(ws: Any) -> None:
        async for message in ws:
            await ws.send(message)

    async def main() -> None:
        async with serve(echo, compression="deflate") as server:
            await aiohttp_client(port_of(server), bits)

    run_clean(main)


def test_a_broadcast_reaches_all_of_them_between_other_messages() -> None:
    """One frame, compressed once, for connections that agreed on different things and got different messages before."""
    websockets = pytest.importorskip("websockets.asyncio.client")
    picows = pytest.importorskip("picows.websockets")

    async def main() -> None:
        arrived: list[Accepted] = []

        async def handler(ws: Any) -> None:
            await arrived[-1](ws)

        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(serve(handler, compression="deflate"))
            uri = f"ws://127.0.0.1:{port_of(server)}"
            pairs = []
            for dial in (
                websockets.connect(uri, proxy=None),
                websockets.connect(uri, proxy=None, compression=None),
                picows.connect(uri, proxy=None),
                connect(server, compression="deflate"),
            ):
                arrived.append(Accepted())
                client = await stack.enter_async_context(dial)
                pairs.append((client, await arrived[-1].connection()))
            for i in range(5):
                for n, (_, ours) in enumerate(pairs):
                    await ours.send(say(10 * i + n, 50 + n))
                trunkline.broadcast([ours for _, ours in pairs], say(i, 60))
            for n, (client, _) in enumerate(pairs):
                for i in range(5):
                    assert await asyncio.wait_for(client.recv(), 10) == say(10 * i + n, 50 + n)
                    assert await asyncio.wait_for(client.recv(), 10) == say(i, 60)

    run_clean(main)
