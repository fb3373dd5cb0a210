"""trunkline speaks with other implementations, as their server and as their client.

A foreign peer does the same as server and as client (see `peers/dialogue.py`), and each test runs in both roles.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import Accepted, connect, port_of, serve
from trunkline.exceptions import ConnectionClosed, ConnectionClosedError

HERE = Path(__file__).parent
PEERS = ["websockets", "websockets_sync", "aiohttp", "picows", "wsproto", "node"]
WITHOUT_FRAGMENTS = {"aiohttp"}
ANSWERS_ANY_CLOSE_WITH_1000 = {"aiohttp"}
PATIENCE = 20


def command(peer: str) -> list[str]:
    """The command that starts a peer; skips the test where the peer isn't installed."""
    if peer == "node":
        if shutil.which("node") is None:
            pytest.skip("node is not installed")
        if not (HERE / "node" / "node_modules" / "ws").exists():
            pytest.skip("the npm package ws is not installed: run `npm install` in tests/interop/node")
        return ["node", str(HERE / "node" / "peer.js")]
    package = peer.removesuffix("_sync")
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return [sys.executable, str(HERE / "peers" / f"peer_{peer}.py")]


class Peer:
    """A foreign peer in a process of its own: a server, or a client that connects when told."""

    def __init__(self, name: str, role: str) -> None:
        self.name = name
        self.role = role
        self.process = subprocess.Popen(
            [*command(name), "listen" if role == "server" else "connect"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin = self.process.stdin
        self.port = int(self.process.stdout.readline()) if role == "server" else None

    @contextlib.asynccontextmanager
    async def connection(self, **options: Any) -> AsyncIterator[Any]:
        """Our end of a connection with this peer; either side may have connected."""
        options = {"max_size": 1 << 22, "subprotocols": ["chat"]} | options
        if self.port is not None:
            async with connect(self.port, **options) as ws:
                yield ws
            return
        accepted = Accepted()
        async with serve(accepted, **options) as server:
            self.stdin.write(f"ws://127.0.0.1:{port_of(server)}/\n")
            self.stdin.flush()
            yield await accepted.connection()

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module", params=[f"{name}-{role}" for name in PEERS for role in ("server", "client")])
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    """Each peer as a server, then as a client."""
    name, _, role = request.param.rpartition("-")
    peer = Peer(name, role)
    yield peer
    peer.stop()


def converse(peer: Peer, talk: Callable[[Any], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run `talk(connection)` on a fresh connection with a peer."""

    async def main() -> None:
        async with asyncio.timeout(PATIENCE), peer.connection(**options) as ws:
            await talk(ws)

    run_clean(main)


MESSAGES = {
    "text": "hello",
    "binary": b"\x00\x01\xfe\xff",
    "unicode": "κόσμε 你好 😀 \U0010ffff \x00",
    "empty text": "",
    "empty binary": b"",
    "125 bytes": "x" * 125,
    "126 bytes": "x" * 126,
    "65535 bytes": b"x" * 65535,
    "65536 bytes": b"x" * 65536,
    "1 MiB of text": "x" * (1 << 20),
    "1 MiB of binary": bytes(range(256)) * (1 << 12),
}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES.keys())
def test_messages_come_back(peer: Peer, message: str | bytes) -> None:
    async def talk(ws: Any) -> None:
        await ws.send(message)
        assert await ws.recv() == message

    converse(peer, talk)


def test_messages_stay_in_order(peer: Peer) -> None:
    async def talk(ws: Any) -> None:
        messages = [f"{n} " * n for n in range(200)]
        sending = asyncio.create_task(send_all(ws, messages))
        assert [await ws.recv() for _ in messages] == messages
        await sending

    async def send_all(ws: Any, messages: list[str]) -> None:
        for message in messages:
            await ws.send(message)

    converse(peer, talk)


def test_our_fragments(peer: Peer) -> None:
    async def talk(ws: Any) -> None:
        await ws.send(["κό", "σ", "", "με"])
        assert await ws.recv() == "κόσμε"
        await ws.send([b"a" * 70_000, b"b"])
        assert await ws.recv() == b"a" * 70_000 + b"b"

    converse(peer, talk)


def test_their_fragments(peer: Peer) -> None:
    async def talk(ws: Any) -> None:
        await ws.send("!fragments")
        assert await ws.recv() == "fragmented"
        await ws.send("!fragments")
        assert "".join([fragment async for fragment in ws.recv_streaming()]) == "fragmented"

    if peer.name not in WITHOUT_FRAGMENTS:
        converse(peer, talk)


def test_our_ping(peer: Peer) -> None:
    async def talk(ws: Any) -> None:
        latency = await (await ws.ping())
        assert latency > 0
        await (await ws.ping(b"p" * 125))

    converse(peer, talk)


def test_their_ping(peer: Peer) -> None:
    async def talk(ws: Any) -> None:
        await ws.send("!ping")
        assert await ws.recv() == "!pong"

    converse(peer, talk)


def test_subprotocol(peer: Peer) -> None:
    async def talk(ws: Any) -> None:
        assert ws.subprotocol == "chat"
        await ws.send("!subprotocol")
        assert await ws.recv() == "chat"

    converse(peer, talk)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4001, "because, ich weiß: 好")])
def test_we_close(peer: Peer, code: int, reason: str) -> None:
    async def talk(ws: Any) -> None:
        await ws.close(code, reason)
        assert ws.close_code == (1000 if peer.name in ANSWERS_ANY_CLOSE_WITH_1000 else code)
        assert ws.state is trunkline.State.CLOSED

    converse(peer, talk)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going"), (4001, "because, ich weiß: 好")])
def test_they_close(peer: Peer, code: int, reason: str) -> None:
    async def talk(ws: Any) -> None:
        await ws.send(f"!close {code} {reason}")
        with pytest.raises(ConnectionClosed) as caught:
            await ws.recv()
        assert caught.value.rcvd is not None
        assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (code, reason)
        assert caught.value.rcvd_then_sent

    converse(peer, talk)


def test_they_break_off(peer: Peer) -> None:
    async def talk(ws: Any) -> None:
        await ws.send("!abort")
        with pytest.raises(ConnectionClosedError):
            await ws.recv()
        assert ws.close_code == 1006

    converse(peer, talk)


def test_we_break_off_and_they_live_on(peer: Peer) -> None:
    async def break_off(ws: Any) -> None:
        ws.transport.abort()
        await ws.wait_closed()

    async def talk(ws: Any) -> None:
        await ws.send("still there?")
        assert await ws.recv() == "still there?"

    converse(peer, break_off)
    converse(peer, talk)
