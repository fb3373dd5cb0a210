"""Presence in Redis: of all nodes, without those that died."""

from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import PresenceNode, an_hour_as_eve, has, play_presence, until
from tests.support.redis import PROGRAMS, RedisServer, needs_redis, running
from trunkline.realtime.publication import ClientInfo
from trunkline.testing.brokers import Scenario, check_presence, presence_scenarios

ADA = ClientInfo("ada", "c1", b'{"name":"Ada"}')
BOB = ClientInfo("bob", "c2")
PATIENCE = 10


@pytest.fixture(scope="module", params=PROGRAMS)
def each_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with running(request.param) as server:
        yield server


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.mark.parametrize("scenario", presence_scenarios(shared=True), ids=str)
def test_conforms(scenario: Scenario, each_server: RedisServer) -> None:
    check_presence(scenario, lambda clock: PresenceNode(each_server.url))


@needs_redis
def test_a_node_that_dies_takes_its_members_with_it(server: RedisServer) -> None:
    async def scene(node: PresenceNode) -> None:
        await node.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        with await an_hour_as_eve(server) as process:
            assert set(await node.presence.get("room")) == {"c1", "c9"}
            process.kill()
        assert await node.events.told("room", 1) == [("leave", ClientInfo("eve", "c9"))]
        assert await node.presence.get("room") == {"c1": ADA}
        assert b"eve" not in server.cli("HGETALL", "tl:{room}:p")
        await until(lambda: _only_one(server))

    play_presence(scene, PresenceNode(server.url, lease=1))


async def _only_one(server: RedisServer) -> bool:
    """Nothing is left of other nodes."""
    return server.cli("ZCARD", "tl:nodes") == b":1\r\n" and server.cli("KEYS", "tl:n:*").startswith(b"*1\r\n")


@needs_redis
@pytest.mark.parametrize(("leases", "dead"), [(0.5, True), (0.7, False), (5.0, False)])
def test_leases_that_ended_while_redis_was_away_kill_no_node(server: RedisServer, leases: float, dead: bool) -> None:
    async def scene(node: PresenceNode, other: PresenceNode) -> None:
        lease = 3600.0
        id = vars(other.presence)["_id"]
        server.cli("ZADD", "tl:nodes", "1", id)  # its lease is over
        beaten = vars(node.presence)["_beaten"]
        vars(node.presence)["_reachable_since"] = beaten - 3 * lease
        vars(node.presence)["_beaten"] = beaten - leases * lease
        assert await node.presence._beat() == ([id] if dead else [])

    play_presence(scene, PresenceNode(server.url, lease=3600), PresenceNode(server.url, lease=3600))


@needs_redis
def test_members_are_told_again_to_a_redis_that_lost_its_data(server: RedisServer) -> None:
    async def scene(node: PresenceNode, other: PresenceNode) -> None:
        await node.broker.subscribe("room")
        await node.presence.add("room", "c1", ADA)
        await other.presence.add("room", "c2", BOB)
        server.cli("FLUSHALL")
        await until(lambda: has(node, {"c1": ADA, "c2": BOB}))
        server.kill()
        server.start()
        await until(lambda: has(node, {"c1": ADA, "c2": BOB}))
        assert not node.events.others["room"]

    play_presence(scene, PresenceNode(server.url, lease=3), PresenceNode(server.url, lease=3))


@needs_redis
def test_a_node_that_closes_is_gone_at_once(server: RedisServer) -> None:
    async def scene(node: PresenceNode) -> None:
        other = PresenceNode(server.url)
        await other.start()
        await node.broker.subscribe("room")
        await other.presence.add("room", "c2", BOB)
        await other.close()
        assert await node.events.told("room", 1) == [("leave", BOB)]
        assert await node.presence.get("room") == {}
        assert await _only_one_node(server)

    play_presence(scene, PresenceNode(server.url))


@needs_redis
def test_a_presence_that_starts_again_is_one_node(server: RedisServer) -> None:
    async def scene(node: PresenceNode) -> None:
        await node.close()
        await node.start()
        assert await _only_one_node(server)

    play_presence(scene, PresenceNode(server.url))


async def _only_one_node(server: RedisServer) -> bool:
    return server.cli("ZCARD", "tl:nodes") == b":1\r\n"
