"""Presence in NATS: of all nodes, without those that died."""

from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import PresenceNode, an_hour_as_eve, has, play_presence, until
from tests.support.nats import NatsServer, needs_nats, running
from trunkline.realtime.publication import ClientInfo
from trunkline.testing.brokers import Scenario, check_presence, presence_scenarios

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


@needs_nats
@pytest.mark.parametrize("scenario", presence_scenarios(shared=True), ids=str)
def test_conforms(scenario: Scenario, each_server: NatsServer) -> None:
    check_presence(scenario, lambda clock: PresenceNode(each_server.url))


@needs_nats
def test_a_node_that_dies_takes_its_members_with_it(server: NatsServer) -> None:
    async def scene(node: PresenceNode) -> None:
        await node.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        with await an_hour_as_eve(server) as process:
            assert set(await node.presence.get("room")) == {"c1", "c9"}
            process.kill()
        assert await node.events.told("room", 1) == [("leave", ClientInfo("eve", "c9"))]
        assert await node.presence.get("room") == {"c1": ADA}

    play_presence(scene, PresenceNode(server.url, lease=1))


@needs_nats
def test_members_are_told_again_to_a_server_that_lost_its_data(server: NatsServer) -> None:
    async def scene(node: PresenceNode, other: PresenceNode) -> None:
        await node.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        await other.presence.add("room", "c2", BOB)
        server.kill()
        server.start()
        await until(lambda: has(node, {"c1": ADA, "c2": BOB}))
        assert not node.events.others["room"]

    play_presence(scene, PresenceNode(server.url, lease=3), PresenceNode(server.url, lease=3))


@needs_nats
def test_a_node_that_closes_is_gone_at_once(server: NatsServer) -> None:
    async def scene(node: PresenceNode) -> None:
        other = PresenceNode(server.url)
        await other.start()
        await node.broker.subscribe("room")
        await other.presence.add("room", "c2", BOB)
        await other.close()
        assert await node.events.told("room", 1) == [("leave", BOB)]
        assert await node.presence.get("room") == {}

    play_presence(scene, PresenceNode(server.url))
