"""Several nodes whose clients are in the same rooms, over one Redis: the official SDK, and what it never notices."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import member, numbers, room_nodes
from tests.support.redis import RedisServer, needs_redis, running
from tests.support.sdk import play

pytestmark = needs_redis

PUBLICATIONS = 60


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def careful_server() -> Iterator[RedisServer]:
    with running("redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.mark.parametrize("harm", ["pubsub", "normal", "killed"])
def test_clients_notice_nothing_of_what_happens_between_node_and_redis(careful_server: RedisServer, harm: str) -> None:
    async def scene() -> None:
        async with room_nodes(f"{careful_server.url}?durable=1") as [(_, one), (second, _)]:
            client, events = await member(one, "ada")
            for number in range(PUBLICATIONS):
                if number % 25 == 20:
                    if harm == "killed":
                        careful_server.kill()
                        careful_server.start()
                    else:
                        careful_server.cli("CLIENT", "KILL", "TYPE", harm)
                await second.publish("room", number, id=str(number))
            heard = await numbers(events, 0, PUBLICATIONS - 1)
            assert heard == [(number + 1, number) for number in range(PUBLICATIONS)]
            assert events.queue.empty()  # neither unsubscribed nor subscribed again
            await client.disconnect()

    play(scene)


def test_clients_are_told_when_redis_lost_its_data(server: RedisServer) -> None:
    async def scene() -> None:
        async with room_nodes(server.url) as [(_, one), (second, _)]:
            client, events = await member(one, "ada")
            await second.publish("room", 1)
            await events.expect("publication")
            server.kill()
            server.start()
            await second.publish("room", 2, id="2")
            subscribed = await events.expect("subscribed")
            assert (subscribed.was_recovering, subscribed.recovered) == (True, False)
            await second.publish("room", 3)
            assert (await numbers(events, 3, 3))[-1][1] == 3
            await client.disconnect()

    play(scene)


def test_clients_stay_while_redis_is_away(careful_server: RedisServer) -> None:
    async def scene() -> None:
        async with room_nodes(f"{careful_server.url}?durable=1", 1) as [(rt, url)]:
            client, events = await member(url, "ada")
            careful_server.stop()
            publishing = asyncio.create_task(rt.publish("room", 1, id="1"))
            await asyncio.sleep(0.3)
            assert not publishing.done()
            careful_server.start()
            assert (await publishing).offset == 1
            assert await numbers(events, 1, 1) == [(1, 1)]
            assert events.queue.empty()
            await client.disconnect()

    play(scene)
