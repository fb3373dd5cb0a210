"""Peers keep the promises of the contract, whatever carries them: memory, or a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import pytest

from tests.support.loop import run_clean, settled
from tests.support.pair import port_of
from tests.support.rooms import MemoryPeer
from trunkline import connect, serve
from trunkline.asyncio.server import ServerConnection
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import ConnectionClosed
from trunkline.realtime.doors.websocket import WebSocketPeer
from trunkline.realtime.peer import Peer

PATH = "/connection/websocket?format=json"
MESSAGE = PreparedMessage(b"x" * 100_000)


class Far(NamedTuple):
    """The acts of the client at the far end."""

    read: Callable[[], Awaitable[None]]  # all that was sent
    say: Callable[[str], Awaitable[None]]
    leave: Callable[[], Awaitable[None]]


@asynccontextmanager
async def in_memory() -> AsyncIterator[tuple[Peer, Far]]:
    peer = MemoryPeer(PATH)
    peer.room = 10 * len(MESSAGE)

    async def read() -> None:
        peer.make_room()

    async def say(text: str) -> None:
        peer.inbox.append(text)

    async def leave() -> None:
        peer.start_closing(1000, "")

    yield peer, Far(read, say, leave)


@asynccontextmanager
async def over_websocket() -> AsyncIterator[tuple[Peer, Far]]:
    peers: asyncio.Queue[Peer] = asyncio.Queue()
    ended = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        peers.put_nowait(WebSocketPeer(connection))
        await ended.wait()

    async with serve(handler, "127.0.0.1", 0, compression=None) as server:
        url = f"ws://127.0.0.1:{port_of(server)}{PATH}"
        async with connect(url, compression=None, max_queue=1) as websocket:

            async def read() -> None:
                reading.append(asyncio.create_task(read_all(websocket)))

            reading: list[asyncio.Task[None]] = []
            try:
                yield await peers.get(), Far(read, websocket.send, websocket.close)
            finally:
                ended.set()
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)


async def read_all(websocket: Any) -> None:
    try:
        while True:
            await websocket.recv()
    except ConnectionClosed:
        pass


PEERS = pytest.mark.parametrize("peers", [in_memory, over_websocket])
Peers = Callable[[], AbstractAsyncContextManager[tuple[Peer, Far]]]


@PEERS
def test_a_peer_knows_its_request(peers: Peers) -> None:
    async def main() -> None:
        async with peers() as (peer, _):
            assert peer.request.path == PATH
            assert peer.open
            assert (peer.on_writable, peer.on_closing, peer.on_server_closing) == (None, None, None)

    run_clean(main)


@PEERS
def test_a_peer_says_no_and_then_tells_when_to_go_on(peers: Peers) -> None:
    async def main() -> None:
        told: list[str] = []
        async with peers() as (peer, far):
            peer.on_writable = lambda: told.append("writable")
            while peer.send_nowait(MESSAGE):
                pass
            assert not peer.send_nowait(MESSAGE)
            assert told == []
            await far.read()
            await settled(lambda: bool(told))
            assert peer.send_nowait(MESSAGE)

    run_clean(main)


@PEERS
def test_a_peer_counts_what_no_command_has_carried_out(peers: Peers) -> None:
    async def main() -> None:
        async with peers() as (peer, far):
            assert peer.backlog().unread == 0
            for text in ("one", "two"):
                await far.say(text)
            await settled(lambda: peer.backlog().unread == 2)
            assert not peer.backlog().stopped

    run_clean(main)


@PEERS
@pytest.mark.parametrize("who", ["we", "the client"])
def test_a_peer_that_closes_takes_nothing_and_says_so_once(peers: Peers, who: str) -> None:
    async def main() -> None:
        told: list[bool] = []
        async with peers() as (peer, far):
            peer.on_closing = lambda: told.append(peer.open)
            if who == "we":
                peer.start_closing(4000, "go")
            else:
                leaving = asyncio.ensure_future(far.leave())
                await settled(lambda: bool(told))
                await leaving
            assert told == [False]
            assert not peer.send_nowait(MESSAGE)
            peer.start_closing(4001, "without effect")
            assert told == [False]
            peer.backlog()

    run_clean(main)
