"""Several nodes whose clients are in the same rooms, over one NATS: the official SDK, and what it never notices."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.nats import NatsServer, needs_nats, running
from tests.support.sdk import Events, play, sdk, serving, value
from trunkline.realtime import Client, Realtime

pytestmark = needs_nats

PUBLICATIONS = 60


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


def node(url: str) -> Realtime:
    rt = Realtime(url)
    rt.channel("room", history=1000, presence=True, join_leave=True, publish="subscribers")

    @rt.on_connect
    def who(client: Client, data: dict[str, str]) -> None:
        client.user = data["name"]

    return rt


@contextlib.asynccontextmanager
async def nodes(url: str, count: int = 2) -> AsyncIterator[list[tuple[Realtime, str]]]:
    """Nodes, each with its URL."""
    async with contextlib.AsyncExitStack() as stack:
        started = []
        for _ in range(count):
            rt = node(url)
            started.append((rt, await stack.enter_async_context(serving(rt))))
        yield started


async def member(url: str, name: str) -> tuple[Any, Events]:
    """A client that is in the room, and what it hears there."""
    events, client = Events(), sdk(url, data={"name": name})
    room = client.new_subscription("room", events)
    await client.connect()
    await room.subscribe()
    await events.expect("subscribed")
    return client, events


async def numbers(events: Events, first: int, last: int) -> list[tuple[int, int]]:
    """The next publications, as offset and data, until the last number came."""
    heard: list[tuple[int, int]] = []
    while not heard or heard[-1][1] != last:
        publication = (await events.expect("publication")).pub
        heard.append((publication.offset, value(publication.data)))
    return heard


def test_clients_of_different_nodes_meet(server: NatsServer) -> None:
    async def scene() -> None:
        async with nodes(server.url) as [(first, one), (_, two)]:
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


def test_the_program_of_one_node_reaches_the_clients_of_all(server: NatsServer) -> None:
    async def scene() -> None:
        async with nodes(server.url) as [(first, _), (_, two)]:
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


def test_a_client_goes_on_at_another_node(server: NatsServer) -> None:
    async def scene() -> None:
        async with nodes(server.url) as [(_, one), (second, two)]:
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


@pytest.mark.parametrize("harm", ["cut", "killed"])
def test_clients_notice_nothing_of_what_happens_between_node_and_nats(server: NatsServer, harm: str) -> None:
    async def scene() -> None:
        async with nodes(server.url) as [(_, one), (second, _)]:
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
        async with nodes(server.url) as [(_, one), (second, _)]:
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
        async with nodes(server.url, 1) as [(rt, url)]:
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
