"""A client that leaves while its own hook runs: others see it go at once, and what it said before still counts."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.support.loop import run_clean, settled
from tests.support.raw import TEXT, RawPeer, close_frame, encode_frame
from trunkline import connect, serve
from trunkline.asyncio.server import ServerConnection
from trunkline.realtime import Client, Disconnected, Limits, Realtime, Timeouts
from trunkline.testing import memory

PATIENCE = 30


class House:
    """A server with rooms, whose hooks wait while the gate is shut."""

    def __init__(self, **arguments: Any) -> None:
        self.rt = rt = Realtime(**arguments)
        self.gate, self.reached, self.gone, self.served = [asyncio.Event() for _ in range(4)]
        self.gate.set()
        self.clients: list[Client] = []
        self.published: list[Any] = []
        rt.channel("room", presence=True, join_leave=True)
        rt.channel("slow")(self.wait)
        rt.channel("unsubscribe").on_unsubscribe(self.wait)
        rt.channel("publish", publish="subscribers", presence=True, history=10).on_publish(self.publish)
        rt.on_connect(self.connect)
        rt.on_message(self.wait)
        rt.on_refresh(self.refresh)
        rt.on_disconnect(self.disconnect)
        rt.rpc("slow")(self.wait)

    async def handle(self, connection: ServerConnection) -> None:
        await self.rt.handler(connection)
        self.served.set()

    async def connect(self, client: Client, slow: bool) -> None:
        self.clients.append(client)
        client.channels = ["room"]
        if slow:
            await self.wait(client)

    async def wait(self, client: Client) -> None:
        self.reached.set()
        await self.gate.wait()

    async def publish(self, client: Client, message: Any) -> None:
        await self.wait(client)
        if message == "kick me":
            raise Disconnected(4500, "kicked")
        self.published.append(message)

    async def refresh(self, client: Client, token: str) -> None:
        await self.wait(client)

    def disconnect(self, client: Client) -> None:
        self.gone.set()

    async def present(self, room: str = "room") -> int:
        return len(await self.rt.presence(room))

    @contextlib.asynccontextmanager
    async def open(self, engine: Any = "auto") -> AsyncIterator[Callable[[], Awaitable[RawPeer]]]:
        """Serve; gives what lets a client in."""
        serving = serve(self.handle, "127.0.0.1", 0, engine=engine)
        async with self.rt, serving as server, contextlib.AsyncExitStack() as peers:

            async def enter() -> RawPeer:
                peer = await peers.enter_async_context(await RawPeer.open(server.sockets[0].getsockname()[1]))
                await say(peer, {"id": 1, "connect": {"data": not self.gate.is_set()}})
                return peer

            yield enter


def play(scene: Callable[[House], Awaitable[None]], **arguments: Any) -> None:
    async def main() -> None:
        await asyncio.wait_for(scene(House(**arguments)), PATIENCE)

    run_clean(main)


async def say(peer: RawPeer, *commands: Any, and_close: bool = False) -> None:
    """Say commands, each in a frame of its own, all of them in one piece."""
    frames = [encode_frame(TEXT, json.dumps(command).encode(), mask=b"mask") for command in commands]
    await peer.send(*frames, *([close_frame()] if and_close else []))


async def hear(peer: RawPeer, end: bytes) -> list[bytes]:
    """Messages that a client hears before one with `end` in it."""
    heard = []
    while end not in (payload := (await peer.read_frame()).payload):
        heard.append(payload)
    return heard


async def close(peer: RawPeer) -> None:
    await peer.send(close_frame())


async def vanish(peer: RawPeer) -> None:
    peer.close()


async def reset(peer: RawPeer) -> None:
    peer.reset()


def publication(data: Any) -> Any:
    return {"id": 10, "publish": {"channel": "publish", "data": data}}


SUBSCRIBE = {"id": 2, "subscribe": {"channel": "publish"}}
COMMANDS: dict[str, list[Any]] = {
    "subscribe": [{"id": 3, "subscribe": {"channel": "slow"}}],
    "publish": [SUBSCRIBE, publication(1)],
    "unsubscribe": [
        {"id": 2, "subscribe": {"channel": "unsubscribe"}},
        {"id": 3, "unsubscribe": {"channel": "unsubscribe"}},
    ],
    "message": [{"send": {"data": 1}}],
    "refresh": [{"id": 3, "refresh": {"token": "new"}}],
    "rpc": [{"id": 3, "rpc": {"method": "slow"}}],
}


@pytest.mark.parametrize("engine", ["auto", "transports"])
@pytest.mark.parametrize("leave", [close, vanish, reset])
@pytest.mark.parametrize("hook", COMMANDS)
def test_a_client_that_leaves_during_its_own_hook_is_gone(
    hook: str, leave: Callable[[RawPeer], Awaitable[None]], engine: str
) -> None:
    async def scene(house: House) -> None:
        async with house.open(engine) as enter:
            peer, witness = await enter(), await enter()
            await hear(peer, b'"connect"')
            await hear(witness, b'"connect"')
            assert await house.present() == 2
            house.gate.clear()
            await say(peer, *COMMANDS[hook])
            await house.reached.wait()
            await leave(peer)
            await hear(witness, b'"leave"')
            await house.gone.wait()
            assert await house.present() == 1
            house.gate.set()

    play(scene, limits=Limits(calls=0))  # so that calls, too, make their client wait


@pytest.mark.parametrize("leave", [close, vanish, reset])
def test_a_client_that_leaves_during_the_connect_hook_joins_nobody(
    leave: Callable[[RawPeer], Awaitable[None]],
) -> None:
    async def scene(house: House) -> None:
        async with house.open() as enter:
            witness = await enter()
            await hear(witness, b'"join"')
            house.gate.clear()
            peer = await enter()
            await house.reached.wait()
            await leave(peer)
            await settled(lambda: house.clients[1].leaving)
            house.gate.set()
            await house.gone.wait()  # as the connect hook was called for it
            assert await house.present() == 1
            await house.rt.publish("room", "end")
            assert await hear(witness, b"end") == []

    play(scene)


@pytest.mark.parametrize("engine", ["auto", "transports"])
def test_what_a_client_said_before_it_left_is_carried_out(engine: str) -> None:
    async def scene(house: House) -> None:
        async with house.open(engine) as enter:
            peer = await enter()
            await hear(peer, b'"connect"')
            await say(peer, SUBSCRIBE)
            await hear(peer, b'"subscribe"')
            house.gate.clear()
            await say(peer, *map(publication, range(5)), and_close=True)
            await house.gone.wait()
            assert await house.present() == await house.present("publish") == 0
            house.gate.set()
            await settled(lambda: len(house.published) == 5)
            publications = (await house.rt.history("publish")).publications
            assert [json.loads(each.data) for each in publications] == house.published == list(range(5))
            assert {each.info.client for each in publications if each.info is not None} == {house.clients[0].id}
            await house.served.wait()
            assert not house.rt.stats().channels

    play(scene)


def test_a_client_that_left_can_subscribe_to_nothing_and_be_disconnected() -> None:
    async def scene(house: House) -> None:
        async with house.open() as enter:
            peer = await enter()
            await hear(peer, b'"connect"')
            house.gate.clear()
            again = {"id": 4, "subscribe": {"channel": "room"}}
            await say(peer, SUBSCRIBE, publication(1), again, publication("kick me"), publication(2), and_close=True)
            await house.gone.wait()
            house.gate.set()
            await house.served.wait()
            assert house.published == [1]
            assert not house.rt.stats().channels
            assert await house.present() == 0

    play(scene)


def test_what_a_client_said_that_connects_and_leaves_at_once_is_carried_out() -> None:
    async def scene(house: House) -> None:
        async with house.open() as enter:
            peer = await RawPeer.open((await enter()).sock.getpeername()[1])
            commands = [{"id": 1, "connect": {"data": False}}, SUBSCRIBE, publication(1), publication(2)]
            await say(peer, *commands, and_close=True)
            await house.gone.wait()
            await settled(lambda: len(house.published) == 2)
            assert house.published == [1, 2]
            assert await peer.read_close() == 1000
            peer.close()

    play(scene)


def test_a_plain_client_that_leaves_during_its_own_hook_is_gone() -> None:
    async def scene(house: House) -> None:
        async def room(connection: ServerConnection) -> None:
            await house.rt.plain(connection, "publish", user="ada")

        async with house.rt, serve(room, "127.0.0.1", 0) as server:
            peer = await RawPeer.open(server.sockets[0].getsockname()[1])
            await settled(lambda: bool(house.rt.stats().channels))
            house.gate.clear()
            await peer.send(*[encode_frame(TEXT, text, mask=b"mask") for text in (b"one", b"two")], close_frame())
            await house.gone.wait()
            assert await house.present("publish") == 0
            house.gate.set()
            await settled(lambda: len(house.published) == 2)
            assert house.published == ["one", "two"]
            assert await peer.read_close() == 1000
            peer.close()

    play(scene)


@pytest.mark.parametrize("alive", [True, False])
def test_a_client_is_pinged_while_its_hook_runs_and_is_gone_if_it_doesnt_answer(alive: bool) -> None:
    async def scene() -> list[float]:
        house = House(timeouts=Timeouts(ping=20, pong=5))
        now = asyncio.get_running_loop().time
        async with house.rt, house.rt.serve("127.0.0.1", 8765), connect("ws://127.0.0.1:8765/") as websocket:
            await websocket.send('{"id":1,"connect":{"data":false}}')
            while "join" not in await websocket.recv():
                pass
            house.gate.clear()
            await websocket.send(json.dumps(COMMANDS["subscribe"][0]))
            times = []
            while len(times) < 5 and not house.gone.is_set():
                assert await websocket.recv() == "{}"
                times.append(now())
                await (websocket.send("{}") if alive else house.gone.wait())
            house.gate.set()
            return [*times, now()]

    times = memory.run(scene())
    between = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert between == ([pytest.approx(20, abs=1)] * 4 + [0] if alive else [pytest.approx(5, abs=1)])
