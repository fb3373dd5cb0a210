"""Several nodes whose clients are in the same rooms, over each server that we know: the official SDK."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import ENGINES, member, room_nodes, running
from tests.support.broker_server import BrokerServer
from tests.support.sdk import play, value


@pytest.fixture(params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[BrokerServer]:
    with running(request.param) as server:
        yield server


def test_clients_of_different_nodes_meet(server: BrokerServer) -> None:
    async def scene() -> None:
        async with room_nodes(server.url) as [(first, one), (_, two)]:
            ada, of_ada = await member(one, "ada")
            bob, of_bob = await member(two, "bob")
            heard = {"ada": of_ada, "bob": of_bob}
            await ada.get_subscription("room").publish("hi")
            for name, events in heard.items():
                publication = (await events.expect("publication")).pub
                assert (name, value(publication.data), publication.info.user) == (name, "hi", "ada")
            present = await bob.get_subscription("room").presence()
            assert sorted(info.user for info in present.clients.values()) == ["ada", "bob"]
            assert await first.presence_stats("room") == (2, 2)
            assert [value(each.data) for each in (await first.history("room")).publications] == ["hi"]
            await bob.disconnect()
            async with asyncio.timeout(10):
                while await first.presence_stats("room") != (1, 1):
                    await asyncio.sleep(0.01)
            await ada.disconnect()

    play(scene)


def test_the_program_of_one_node_reaches_the_clients_of_all(server: BrokerServer) -> None:
    async def scene() -> None:
        async with room_nodes(server.url) as [(first, _), (_, two)]:
            client, events = await member(two, "ada")
            assert await first.send("hi", user="ada") == 1
            assert await first.send("hi", user="bob") == 0
            await first.unsubscribe("room", user="ada")
            assert (await events.expect("unsubscribed")).code == 2000
            await client.get_subscription("room").subscribe()
            await events.expect("subscribed")
            await first.disconnect(user="ada", code=3503)
            assert (await events.expect("subscribing")).code == 1  # the connection is gone
            async with asyncio.timeout(10):
                while await first.presence_stats("room") != (0, 0):
                    await asyncio.sleep(0.01)

    play(scene)


def test_a_client_goes_on_at_another_node(server: BrokerServer) -> None:
    async def scene() -> None:
        async with room_nodes(server.url) as [(_, one), (second, two)]:
            client, events = await member(one, "ada")
            await second.publish("room", 1)
            await events.expect("publication")
            await client.disconnect()
            await second.publish("room", 2)
            client._address = two
            await client.connect()
            subscribed = await events.expect("subscribed")
            assert (subscribed.was_recovering, subscribed.recovered) == (True, True)
            assert value((await events.expect("publication")).pub.data) == 2
            await client.disconnect()

    play(scene)
