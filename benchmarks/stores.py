"""Measure the cost of history: publications a second, and the time to find what a client missed.

    python -m benchmarks.stores [--redis URL]

For each store, publishers publish 200 bytes at a time in channels that keep 100 publications each, and wait for the
answer before they go on. Then a client asks for the newest 100 of two channels. One has a subscriber, and
so is in memory; the other one has to be read from the disk.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

from trunkline.realtime import Broker, MemoryBroker, Publication, RedisBroker, StreamPosition
from trunkline.realtime.brokers.sqlite import SQLiteBroker
from trunkline.realtime.brokers.sqlite_store import Synchronous
from trunkline.testing.brokers import Events

SIZE = 100
DATA = b"x" * 200
RECOVERIES = 200


class Counter(Events):
    """Counts deliveries, and keeps none."""

    delivered = 0

    def on_publications(self, channel: str, publications: Sequence[Publication]) -> None:
        self.delivered += len(publications)


async def publish(broker: Broker, publishers: int, each: int, channels: int) -> None:
    async def one(number: int) -> None:
        for index in range(each):
            channel = f"room {(number + index) % channels}"
            await broker.publish(channel, Publication(DATA), size=SIZE, ttl=300)

    await asyncio.gather(*(one(number) for number in range(publishers)))


async def recover(broker: Broker, channel: str) -> float:
    """Median of seconds."""
    top, epoch = (await broker.history(channel, limit=0)).position
    seconds = []
    for _ in range(RECOVERIES):
        started = time.perf_counter()
        history = await broker.history(channel, since=StreamPosition(top - SIZE, epoch), limit=SIZE)
        seconds.append(time.perf_counter() - started)
        assert (len(history.publications), history.complete) == (SIZE, True), "all of them are kept"
    return statistics.median(seconds)


async def measure(name: str, make: Callable[[], Broker], publications: int, channels: int) -> None:
    for publishers in (1, 50, 1000):
        broker, events = make(), Counter()
        await broker.start(events)
        for number in range(channels):
            await broker.subscribe(f"room {number}")
        each = max(publications // publishers, -(-2 * channels * SIZE // publishers))
        started, cpu = time.perf_counter(), time.process_time()
        await publish(broker, publishers, each, channels)
        while events.delivered < publishers * each:  # a network is between
            await asyncio.sleep(0)
        rate = publishers * each / (time.perf_counter() - started)
        cost = (time.process_time() - cpu) / (publishers * each)
        assert events.delivered == publishers * each, "what was accepted was delivered"
        in_memory = await recover(broker, "room 0")
        await broker.unsubscribe("room 0")
        elsewhere = await recover(broker, "room 0")
        await broker.close()
        print(
            f"{name:<24} {publishers:>10} {rate:>12,.0f} {cost * 1e6:>12.1f}"
            f" {in_memory * 1e6:>12.0f} {elsewhere * 1e6:>12.0f}",
            flush=True,
        )


async def main(publications: int, channels: int, redis: str | None) -> None:
    print(
        f"{'store':<24} {'publishers':>10} {'a second':>12} {'µs CPU each':>12} {'recover, µs':>12} {'unread, µs':>12}"
    )
    await measure("memory://", MemoryBroker, publications, channels)
    for synchronous in get_args(Synchronous):
        with tempfile.TemporaryDirectory(dir=".") as directory:  # not in memory, as /tmp may be
            await measure(
                f"sqlite, {synchronous}", partial(new_store, Path(directory), synchronous), publications, channels
            )
    if redis is not None:
        await measure("redis", partial(RedisBroker, redis), publications, channels)


def new_store(directory: Path, synchronous: Synchronous) -> Broker:
    return SQLiteBroker(directory / f"{len(list(directory.glob('*.db')))}.db", synchronous=synchronous)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores", description=__doc__)
    parser.add_argument("--publications", type=int, default=20_000, help="for each figure (default: 20000)")
    parser.add_argument("--channels", type=int, default=50, help="that are published in (default: 50)")
    parser.add_argument("--redis", metavar="URL", help="measure a Redis, too, which keeps the publications for a while")
    options = parser.parse_args()
    asyncio.run(main(options.publications, options.channels, options.redis))
    sys.exit()
