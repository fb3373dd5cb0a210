"""A WebSocket connection is a peer as rooms need one."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from tests.support.loop import run_clean, settled
from tests.support.pair import port_of
from trunkline import connect, serve
from trunkline.asyncio.server import ServerConnection
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import ConnectionClosed
from trunkline.http11 import Request
from trunkline.realtime import Realtime
from trunkline.realtime.doors.websocket import WebSocketPeer
from trunkline.realtime.peer import Backlog, Peer


def test_a_connection_keeps_the_promises_of_a_peer() -> None:
    told: list[str] = []
    done = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        peer: Peer = WebSocketPeer(connection)
        peer.on_closing = lambda: told.append("closing")
        assert peer.connection is connection
        assert peer.request.path == "/room?format=json"
        assert peer.open
        assert peer.send_nowait(PreparedMessage("one"))
        assert peer.send_nowait(PreparedMessage("two"))
        assert await connection.recv() == "first"
        await settled(lambda: peer.backlog().unread == 2)
        assert peer.backlog() == Backlog(0, 2, stopped=False)
        peer.start_closing(4000, "go")
        assert not peer.open
        assert not peer.send_nowait(PreparedMessage("three"))
        peer.start_closing(4001, "without effect")
        await connection.wait_closed()
        assert not peer.send_nowait(PreparedMessage("four"))
        done.set()

    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0) as server:
            async with connect(f"ws://127.0.0.1:{port_of(server)}/room?format=json") as websocket:
                for text in ("first", "second", "third"):
                    await websocket.send(text)
                assert await heard(websocket) == ["one", "two"]
                assert (websocket.close_code, websocket.close_reason) == (4000, "go")
            await done.wait()
        assert told == ["closing"]

    run_clean(main)


@pytest.mark.parametrize("offer", [None, ["centrifuge-protobuf"], ["a", "centrifuge-json"], ["a"]])
def test_a_client_of_rooms_costs_no_objects_for_its_headers(offer: list[Any] | None) -> None:
    async def main() -> None:
        rt = Realtime()
        async with (
            rt,
            rt.serve("127.0.0.1", 0) as server,
            connect(f"ws://127.0.0.1:{port_of(server)}/?a=b", subprotocols=offer) as websocket,
        ):
            agreed = [each for each in offer or () if each.startswith("centrifuge-")]
            assert websocket.subprotocol == (agreed[0] if agreed else None)
            await settled(lambda: len(server.connections) == 1)
            [connection] = server.connections
            assert connection.path == "/?a=b"
            if server.fast_path is not None:
                assert not any(isinstance(each, Request) for each in gc.get_referents(connection))
            assert connection.request.path == "/?a=b"

    run_clean(main)


async def heard(websocket: Any) -> list[str]:
    texts = []
    try:
        while True:
            texts.append(await websocket.recv())
    except ConnectionClosed:
        return texts


def test_a_peer_tells_that_its_client_reads_again_and_that_the_server_closes() -> None:
    told: list[str] = []
    full = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        peer = WebSocketPeer(connection)
        peer.on_writable = lambda: told.append("writable")
        peer.on_server_closing = lambda: told.append("server closing")
        while peer.send_nowait(PreparedMessage(b"x" * 100_000)):
            pass
        assert peer.backlog().unsent > 0
        full.set()
        await connection.wait_closed()

    async def main() -> None:
        server = await serve(handler, "127.0.0.1", 0, compression=None)
        async with connect(f"ws://127.0.0.1:{port_of(server)}", max_queue=1, compression=None) as websocket:
            await full.wait()
            assert told == []
            while not told:
                await websocket.recv()
            assert told[0] == "writable"
            server.close()
            await heard(websocket)
        await server.wait_closed()
        assert "server closing" in told

    run_clean(main)
