"""Presence in NATS: of all nodes, without those that died."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.support.nats import NatsServer, needs_nats, running
from tests.support.process import environment
from trunkline.realtime.brokers import NatsBroker
from trunkline.realtime.presence import Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo
from trunkline.testing.brokers import Events, Scenario, check_presence, presence_scenarios

ADA = ClientInfo("ada", "c1", b'{"name":"Ada"}')
BOB = ClientInfo("bob", "c2")
PATIENCE = 10


@pytest.fixture(scope="module")
def each_server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


class Node(Presence):
    """A presence with the broker that it belongs to."""

    def __init__(self, url: str, **options: object) -> None:
        self.broker = NatsBroker(url, **options)
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


@pytest.mark.parametrize("scenario", presence_scenarios(shared=True), ids=str)
def test_conforms(scenario: Scenario, each_server: NatsServer) -> None:
    check_presence(scenario, lambda clock: Node(each_server.url))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.02)


def play(scene: Callable[..., Awaitable[None]], *nodes: Node) -> None:
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
from trunkline.realtime.brokers import NatsBroker
from trunkline.realtime.publication import ClientInfo
from trunkline.testing.brokers import Events

async def main():
    broker = NatsBroker(sys.argv[1], lease=1)
    await broker.start(Events())
    presence = broker.presence()
    await presence.start()
    await presence.add("room", "c9", ClientInfo("eve", "c9"))
    print("there", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@needs_nats
def test_a_node_that_dies_takes_its_members_with_it(server: NatsServer) -> None:
    async def scene(node: Node) -> None:
        await node.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        with subprocess.Popen(
            [sys.executable, "-c", MEMBER, server.url], stdout=subprocess.PIPE, text=True, env=environment()
        ) as process:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == "there\n"
            assert set(await node.presence.get("room")) == {"c1", "c9"}
            process.kill()
        assert await node.events.told("room", 1) == [("leave", ClientInfo("eve", "c9"))]
        assert await node.presence.get("room") == {"c1": ADA}

    play(scene, Node(server.url, lease=1))


@needs_nats
def test_a_node_that_was_taken_for_dead_comes_back(server: NatsServer) -> None:
    async def scene(node: Node, other: Node) -> None:
        await other.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        task = vars(node.presence)["_beating"]
        task.cancel()
        assert await other.events.told("room", 1) == [("leave", ADA)]
        vars(node.presence)["_beating"] = asyncio.create_task(node.presence._keep_beating())
        assert (await other.events.told("room", 2))[1] == ("join", ADA)
        await until(lambda: _has(other, {"c1": ADA}))
        await node.presence.remove("room", "c1")
        assert await other.presence.get("room") == {}

    play(scene, Node(server.url, lease=0.5), Node(server.url, lease=0.5))


async def _has(node: Node, members: dict[str, ClientInfo]) -> bool:
    return await node.presence.get("room") == members


@needs_nats
def test_members_are_told_again_to_a_server_that_lost_its_data(server: NatsServer) -> None:
    async def scene(node: Node, other: Node) -> None:
        await node.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        await other.presence.add("room", "c2", BOB)
        server.kill()
        server.start()
        await until(lambda: _has(node, {"c1": ADA, "c2": BOB}))
        assert not node.events.others["room"]

    play(scene, Node(server.url, lease=3), Node(server.url, lease=3))


@needs_nats
def test_a_removal_that_nats_did_not_hear_of_is_made_up_for(server: NatsServer) -> None:
    async def scene(node: Node, other: Node) -> None:
        await node.presence.add("room", "c1", ADA)
        await node.presence.add("room", "c2", BOB)
        server.freeze()
        removing = asyncio.create_task(node.presence.remove("room", "c1"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        removing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await removing
        server.kill()
        server.start()
        await until(lambda: _has(other, {"c2": BOB}))

    play(scene, Node(server.url, lease=1), Node(server.url, lease=1))


@needs_nats
def test_a_node_that_closes_is_gone_at_once(server: NatsServer) -> None:
    async def scene(node: Node) -> None:
        other = Node(server.url)
        await other.start()
        await node.broker.subscribe("room")
        await other.presence.add("room", "c2", BOB)
        await other.close()
        assert await node.events.told("room", 1) == [("leave", BOB)]
        assert await node.presence.get("room") == {}

    play(scene, Node(server.url))
