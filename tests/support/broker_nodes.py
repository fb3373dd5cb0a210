"""Nodes over the server of a broker: brokers, presences, controls, and whole rooms with clients of the official SDK."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from tests.support import nats, redis
from tests.support.broker_server import BrokerServer
from tests.support.process import environment
from tests.support.sdk import Events as Heard
from tests.support.sdk import sdk, serving, value
from trunkline.realtime import Client, Realtime
from trunkline.realtime.brokers import NatsBroker, RedisBroker
from trunkline.realtime.control import Answer, Order
from trunkline.realtime.presence import Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition
from trunkline.testing.brokers import Events

ENGINES = [pytest.param("redis", marks=redis.needs_redis), pytest.param("nats", marks=nats.needs_nats)]
PATIENCE = 10
CarryOut = Callable[[Order], Awaitable[Answer]]


@contextmanager
def running(engine: str) -> Iterator[BrokerServer]:
    """A server of one of the `ENGINES`, from start to end."""
    with nats.running() if engine == "nats" else redis.running() as server:
        yield server


def broker_at(url: str, **options: object) -> Any:
    """A broker that isn't started."""
    return (NatsBroker if url.startswith(("nats:", "tls:")) else RedisBroker)(url, **options)


async def deliver(url: str, **options: object) -> None:
    """A broker at this URL delivers what it keeps."""
    broker, events = broker_at(url, **options), Events()
    await broker.start(events)
    try:
        await broker.subscribe("room")
        await broker.publish("room", Publication(b"1"), size=9, ttl=60)
        await events.received("room", 1)
    finally:
        await broker.close()


# Brokers


class BrokerNode:
    """A broker, and what it told."""

    def __init__(self, url: str, **options: object) -> None:
        self.broker = broker_at(url, **options)
        self.events = Events()

    async def publish(self, channel: str, *data: bytes, **options: object) -> StreamPosition:
        for each in data:
            position: StreamPosition = await self.broker.publish(
                channel, Publication(each), **{"size": 1000, "ttl": 60} | options
            )
        return position

    def delivered(self, channel: str) -> list[bytes]:
        return [each.data for each in self.events.publications[channel]]

    async def until_delivered(self, channel: str, *data: bytes) -> None:
        await self.events.received(channel, len(data))
        assert self.delivered(channel) == list(data)


@asynccontextmanager
async def node_at(
    server: BrokerServer, *channels: str, query: str = "", **options: object
) -> AsyncIterator[BrokerNode]:
    node = BrokerNode(server.url + query, **options)
    await node.broker.start(node.events)
    try:
        for channel in channels:
            await node.broker.subscribe(channel)
        yield node
    finally:
        await node.broker.close()


# Presences


class PresenceNode(Presence):
    """A presence with the broker that it belongs to."""

    def __init__(self, url: str, **options: object) -> None:
        self.broker = broker_at(url, **options)
        self.events = Events()
        self.presence = self.broker.presence()
        self.add, self.remove = self.presence.add, self.presence.remove
        self.get, self.stats = self.presence.get, self.presence.stats

    async def start(self) -> None:
        await self.broker.start(self.events)
        await self.presence.start()

    async def close(self) -> None:
        await self.presence.close()
        await self.broker.close()

    async def add(self, channel: str, client: str, info: ClientInfo) -> None: ...
    async def remove(self, channel: str, client: str) -> None: ...
    async def get(self, channel: str) -> dict[str, ClientInfo]: ...
    async def stats(self, channel: str) -> PresenceStats: ...


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


async def has(node: PresenceNode, members: dict[str, ClientInfo]) -> bool:
    """Whether these are in the room."""
    return bool(await node.presence.get("room") == members)


def play_presence(scene: Callable[..., Awaitable[None]], *nodes: PresenceNode) -> None:
    """Run a scene with nodes that are started."""

    async def main() -> None:
        for node in nodes:
            await node.start()
        try:
            await scene(*nodes)
        finally:
            for node in nodes:
                await node.close()

    asyncio.run(main())


MEMBER = """
import asyncio, sys
from trunkline.realtime.brokers import NatsBroker, RedisBroker
from trunkline.realtime.publication import ClientInfo
from trunkline.testing.brokers import Events

async def main():
    broker = (NatsBroker if sys.argv[1].startswith("nats:") else RedisBroker)(sys.argv[1], lease=1)
    await broker.start(Events())
    presence = broker.presence()
    await presence.start()
    await presence.add("room", "c9", ClientInfo("eve", "c9"))
    print("there", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def an_hour_as_eve(server: BrokerServer) -> subprocess.Popen[str]:
    """A node in a process of its own, with a member in the room."""
    process = subprocess.Popen(
        [sys.executable, "-c", MEMBER, server.url], stdout=subprocess.PIPE, text=True, env=environment()
    )
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "there\n"
    return process


# Controls


class ControlNode:
    """A node that counts the orders that it carries out."""

    def __init__(self, url: str) -> None:
        self.broker = broker_at(url, heartbeat=0.2, patience=1)
        self.orders: list[Order] = []
        self.control: Any = None

    async def start(self, carry_out: CarryOut | None = None) -> None:
        await self.broker.start(Events())
        self.control = self.broker.control()
        await self.control.start(carry_out or self.carry_out)

    async def close(self) -> None:
        await self.control.close()
        await self.broker.close()

    async def carry_out(self, order: Order) -> Answer:
        self.orders.append(order)
        return Answer(len(self.orders))


@asynccontextmanager
async def control_nodes(server: BrokerServer, *carry_out: CarryOut | None) -> AsyncIterator[list[ControlNode]]:
    async with AsyncExitStack() as stack:
        started = []
        for each in carry_out:
            node = ControlNode(server.url)
            await node.start(each)
            stack.push_async_callback(node.close)
            started.append(node)
        yield started


# Rooms


def room_node(url: str) -> Realtime:
    rt = Realtime(url)
    rt.channel("room", history=1000, presence=True, join_leave=True, publish="subscribers")

    @rt.on_connect
    def who(client: Client, data: dict[str, str]) -> None:
        client.user = data["name"]

    return rt


@asynccontextmanager
async def room_nodes(url: str, count: int = 2) -> AsyncIterator[list[tuple[Realtime, str]]]:
    """Nodes, each with its URL."""
    async with AsyncExitStack() as stack:
        started = []
        for _ in range(count):
            rt = room_node(url)
            started.append((rt, await stack.enter_async_context(serving(rt))))
        yield started


async def member(url: str, name: str) -> tuple[Any, Heard]:
    """A client that is in the room, and what it hears there."""
    events, client = Heard(), sdk(url, data={"name": name})
    room = client.new_subscription("room", events)
    await client.connect()
    await room.subscribe()
    await events.expect("subscribed")
    return client, events


async def numbers(events: Heard, first: int, last: int) -> list[tuple[int, int]]:
    """The next publications, as offset and data, until the last number came."""
    heard: list[tuple[int, int]] = []
    while not heard or heard[-1][1] != last:
        publication = (await events.expect("publication")).pub
        heard.append((publication.offset, value(publication.data)))
    return heard
