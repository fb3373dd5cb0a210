"""The broker in memory does what every broker must, and stays small."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from trunkline.realtime.brokers.memory import MemoryBroker
from trunkline.realtime.publication import Publication, StreamPosition
from trunkline.testing.brokers import Clock, Events, Scenario, broker_scenarios, check_broker


@pytest.mark.parametrize("scenario", broker_scenarios(), ids=str)
def test_conforms(scenario: Scenario) -> None:
    check_broker(scenario, lambda clock: MemoryBroker(clock=clock))


def play(scene: Callable[[MemoryBroker, Clock], Awaitable[None]], *, channels: int = 10) -> None:
    async def main() -> None:
        clock = Clock()
        broker = MemoryBroker(channels=channels, clock=clock)
        await broker.start(Events())
        await scene(broker, clock)
        await broker.close()

    asyncio.run(main())


def known(broker: MemoryBroker) -> set[str]:
    """Channels that it remembers anything of."""
    assert vars(broker)["_resting"].keys() <= vars(broker)["_streams"].keys()
    return set(vars(broker)["_streams"])


async def publish(broker: MemoryBroker, channel: str, *, ttl: float = 10) -> StreamPosition:
    return await broker.publish(channel, Publication(b"1"), size=10, ttl=ttl)


async def visit(broker: MemoryBroker, channel: str) -> None:
    await broker.subscribe(channel)
    await broker.unsubscribe(channel)


def test_names_that_nothing_was_published_in_leave_nothing() -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        for number in range(1000):
            await visit(broker, f"a{number}")
            await broker.history(f"b{number}")
        assert not known(broker)

    play(scene)


def test_names_that_rest_are_forgotten_when_they_are_many() -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        for number in range(1000):
            await publish(broker, f"a{number}")
        await broker.subscribe("a0")
        assert len(known(broker)) == 1000
        await clock.advance(11)
        await publish(broker, "b")
        assert {"a0", "b"} < known(broker)
        assert len(known(broker)) == 2 + 10
        await visit(broker, "c")  # the longest of the forgotten channels had one publication
        assert (await broker.history("c", limit=0)).position.offset == 1
        assert "c" not in known(broker)

    play(scene)


def test_a_name_that_rests_is_remembered_for_a_while() -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        for _ in range(5):
            position = await publish(broker, "a")
        await clock.advance(3600)
        await visit(broker, "a")  # it rests from now on
        await clock.advance(3599)
        await publish(broker, "b")
        assert (await broker.history("a", since=position)).complete
        assert known(broker) == {"a", "b"}
        await clock.advance(1)
        await publish(broker, "b")
        assert known(broker) == {"b"}

    play(scene)


def test_what_has_subscribers_or_publications_stays() -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        await broker.subscribe("subscribed")
        await publish(broker, "subscribed")
        await publish(broker, "published", ttl=100_000)
        for number in range(50):
            await publish(broker, f"a{number}", ttl=1)
        await clock.advance(10_000)
        await publish(broker, "b")
        assert {"subscribed", "published"} <= known(broker)
        await broker.unsubscribe("subscribed")
        await broker.remove_history("published")
        await clock.advance(3600)
        await publish(broker, "b")
        assert known(broker) == {"b"}

    play(scene)


@pytest.mark.parametrize("use", ["subscribed", "published"])
def test_a_channel_that_rested_and_is_in_use_again_stays(use: str) -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        await publish(broker, "first")
        position = await publish(broker, "first")
        await clock.advance(11)
        if use == "subscribed":
            await broker.subscribe("first")
        else:
            position = await publish(broker, "first", ttl=100_000)
        await clock.advance(3601)
        for number in range(50):
            await publish(broker, f"a{number}", ttl=1)
        await clock.advance(3601)
        await publish(broker, "b")
        assert "first" in known(broker)
        assert (await broker.history("first", since=position)).complete

    play(scene)


def test_offsets_begin_behind_those_of_the_longest_channel_that_was_forgotten() -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        for _ in range(5):
            await publish(broker, "long")
        await publish(broker, "short")
        await clock.advance(11)
        await broker.history("other")
        await clock.advance(3600)
        assert (await publish(broker, "new")).offset == 6
        assert known(broker) == {"new"}

    play(scene)


def test_closing_leaves_no_subscriptions() -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        await broker.subscribe("a")
        await broker.close()
        assert not known(broker)
        await broker.start(Events())

    play(scene)


def test_ids_are_forgotten_without_further_ids() -> None:
    async def scene(broker: MemoryBroker, clock: Clock) -> None:
        for number in range(100):
            await broker.publish("a", Publication(b"1"), size=10, ttl=10, id=str(number))
        await clock.advance(301)
        await publish(broker, "b")
        assert not vars(broker)["_ids"]

    play(scene)
