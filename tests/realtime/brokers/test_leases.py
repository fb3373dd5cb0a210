"""Presence over each server that we know: members of a node live as long as its lease."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import ENGINES, PresenceNode, has, play_presence, running, until
from tests.support.broker_server import BrokerServer
from trunkline.realtime.publication import ClientInfo

ADA = ClientInfo("ada", "c1", b'{"name":"Ada"}')
BOB = ClientInfo("bob", "c2")


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[BrokerServer]:
    with running(request.param) as server:
        yield server


def test_a_node_that_was_taken_for_dead_comes_back(server: BrokerServer) -> None:
    async def scene(node: PresenceNode, other: PresenceNode) -> None:
        await other.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        task = vars(node.presence)["_beating"]
        task.cancel()
        assert await other.events.told("room", 1) == [("leave", ADA)]
        vars(node.presence)["_beating"] = asyncio.create_task(node.presence._keep_beating())
        assert (await other.events.told("room", 2))[1] == ("join", ADA)
        await until(lambda: has(other, {"c1": ADA}))
        await node.presence.remove("room", "c1")
        assert await other.presence.get("room") == {}

    play_presence(scene, PresenceNode(server.url, lease=0.5), PresenceNode(server.url, lease=0.5))


def test_a_removal_that_the_server_did_not_hear_of_is_made_up_for(server: BrokerServer) -> None:
    async def scene(node: PresenceNode, other: PresenceNode) -> None:
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
        await until(lambda: has(other, {"c2": BOB}))

    play_presence(scene, PresenceNode(server.url, lease=1), PresenceNode(server.url, lease=1))
