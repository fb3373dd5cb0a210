"""Publications go when their time is over, although nothing asks for them."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from trunkline.realtime.brokers import MemoryBroker, SQLiteBroker
from trunkline.realtime.publication import Publication
from trunkline.testing import memory
from trunkline.testing.brokers import Events

START = 1_800_000_000.0


def clock() -> float:
    """The virtual time, in seconds since 1970."""
    return START + asyncio.get_running_loop().time()


class Forgetful(Events):
    """Keeps nothing of what it is told."""

    def on_publications(self, channel: str, publications: Sequence[Publication]) -> None:
        pass


class Tags(dict[str, str]):
    """Tags of a publication, which say whether it is in memory."""

    alive = 0

    def __init__(self) -> None:
        Tags.alive += 1

    def __del__(self) -> None:
        Tags.alive -= 1


def in_memory() -> int:
    """Publications that anything still refers to."""
    gc.collect()
    return Tags.alive


async def publish(broker: MemoryBroker, channel: str, count: int = 1, *, size: int = 100, ttl: float = 10) -> None:
    for _ in range(count):
        await broker.publish(channel, Publication(b"1", tags=Tags()), size=size, ttl=ttl)


def play(scene: Callable[[MemoryBroker], Awaitable[None]]) -> None:
    async def main() -> None:
        broker = MemoryBroker(clock=clock)
        await broker.start(Forgetful())
        await scene(broker)
        await broker.close()

    before = in_memory()
    memory.run(main())
    assert in_memory() == before


@pytest.mark.parametrize("subscribed", [False, True])
def test_nothing_is_published_any_more(subscribed: bool) -> None:
    async def scene(broker: MemoryBroker) -> None:
        before = in_memory()
        if subscribed:
            await broker.subscribe("a")
        await publish(broker, "a", 5)
        await asyncio.sleep(9.9)
        await publish(broker, "b", 3, ttl=5)
        assert in_memory() == before + 8
        await asyncio.sleep(1.1)
        assert in_memory() == before + 3
        await asyncio.sleep(5)
        assert in_memory() == before
        assert (await broker.history("a", limit=0)).position.offset == 5

    play(scene)


def test_each_goes_by_its_own_time() -> None:
    async def scene(broker: MemoryBroker) -> None:
        before = in_memory()
        for _ in range(50):
            await publish(broker, "a")
            await asyncio.sleep(0.5)
        kept = (await broker.history("a")).publications
        assert len(kept) == 19  # those of less than 10 s
        del kept
        for _ in range(10):
            await asyncio.sleep(1)
            now = len((await broker.history("a")).publications)
            assert now <= in_memory() - before <= now + 2
        assert in_memory() == before

    play(scene)


def test_a_shorter_ttl_counts_for_the_whole_channel() -> None:
    async def scene(broker: MemoryBroker) -> None:
        before = in_memory()
        await publish(broker, "a", 3, ttl=10_000)
        await publish(broker, "a", ttl=2)
        await asyncio.sleep(3)
        assert in_memory() == before

    play(scene)


def test_a_short_ttl_is_not_none() -> None:
    async def scene(broker: MemoryBroker) -> None:
        before = in_memory()
        await publish(broker, "a", ttl=0.0001)
        assert len((await broker.history("a")).publications) == 1
        await asyncio.sleep(2)
        assert in_memory() == before

    play(scene)


def test_a_busy_channel_does_not_wake_the_loop_for_each_publication() -> None:
    async def scene(broker: MemoryBroker) -> None:
        runs = 0
        expiry = vars(broker)["_expiry"]
        run = expiry._on_timer

        def counted() -> None:
            nonlocal runs
            runs += 1
            run()

        expiry._on_timer = counted
        for _ in range(1000):
            await publish(broker, "a", size=10_000, ttl=2)
            await asyncio.sleep(0.01)
        assert runs <= 11

    play(scene)


def test_a_clock_that_stands_still_is_asked_once_a_second() -> None:
    async def main() -> None:
        broker = MemoryBroker(clock=lambda: START)
        await broker.start(Forgetful())
        await publish(broker, "a", ttl=1)
        turns, loop = 0, asyncio.get_running_loop()
        while loop.time() < 100:
            turns += 1
            await asyncio.sleep(10)
        assert len((await broker.history("a")).publications) == 1
        await broker.close()

    memory.run(main())


def test_a_broker_that_was_closed_and_started_again_goes_on() -> None:
    async def scene(broker: MemoryBroker) -> None:
        before = in_memory()
        await publish(broker, "a", 5)
        await broker.close()
        await asyncio.sleep(20)
        assert in_memory() == before + 5, "a closed broker leaves no timer behind"
        await broker.start(Forgetful())
        await asyncio.sleep(2)
        assert in_memory() == before

    play(scene)


def test_the_copy_in_memory_of_a_store(tmp_path: Path) -> None:
    async def main() -> None:
        now = START
        broker = SQLiteBroker(tmp_path / "store.db", clock=lambda: now)
        await broker.start(Forgetful())
        await broker.subscribe("a")
        stream = vars(broker)["_streams"]["a"]
        for _ in range(5):
            await broker.publish("a", Publication(b"1"), size=100, ttl=1)
        assert stream.kept == 5
        await broker.unsubscribe("a")
        await broker.subscribe("a")
        read = vars(broker)["_streams"]["a"]
        assert read is not stream
        assert read.kept == 5
        now += 2
        vars(broker)["_expiry"]._on_timer()
        assert stream.kept == read.kept == 0
        await broker.close()

    asyncio.run(main())
