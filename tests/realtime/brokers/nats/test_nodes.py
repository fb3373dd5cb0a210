"""Several nodes whose clients are in the same rooms, over one NATS: the official SDK, and what it never notices."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import member, numbers, room_nodes
from tests.support.nats import NatsServer, needs_nats, running
from tests.support.sdk import play

pytestmark = needs_nats

PUBLICATIONS = 60


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


@pytest.mark.parametrize("harm", ["cut", "killed"])
def test_clients_notice_nothing_of_what_happens_between_node_and_nats(server: NatsServer, harm: str) -> None:
    async def scene() -> None:
        async with room_nodes(server.url) as [(_, one), (second, _)]:
            client, events = await member(one, "ada")
            for number in range(PUBLICATIONS):
                if number % 25 == 20:
                    if harm == "killed":
                        server.kill()
                        server.start()
                    else:
                        second.broker._link.connection.abort("cut")
                await second.publish("room", number, id=str(number))
            heard = await numbers(events, 0, PUBLICATIONS - 1)
            assert [data for _, data in heard] == list(range(PUBLICATIONS))
            assert events.queue.empty()  # neither unsubscribed nor subscribed again
            await client.disconnect()

    play(scene)


def test_clients_are_told_when_nats_lost_its_data(server: NatsServer) -> None:
    async def scene() -> None:
        async with room_nodes(server.url) as [(_, one), (second, _)]:
            client, events = await member(one, "ada")
            await second.publish("room", 1)
            await events.expect("publication")
            server.kill()
            server.lose_data()
            server.start()
            await second.publish("room", 2, id="2")
            subscribed = await events.expect("subscribed")
            assert (subscribed.was_recovering, subscribed.recovered) == (True, False)
            await second.publish("room", 3)
            assert (await numbers(events, 3, 3))[-1][1] == 3
            await client.disconnect()

    play(scene)


def test_clients_stay_while_nats_is_away(server: NatsServer) -> None:
    async def scene() -> None:
        async with room_nodes(server.url, 1) as [(rt, url)]:
            client, events = await member(url, "ada")
            server.stop()
            publishing = asyncio.create_task(rt.publish("room", 1, id="1"))
            await asyncio.sleep(0.3)
            assert not publishing.done()
            server.start()
            assert await numbers(events, 1, 1) == [((await publishing).offset, 1)]
            assert events.queue.empty()
            await client.disconnect()

    play(scene)
