"""In whatever order calls come, a broker agrees with a model that forgets nothing."""

import asyncio
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.realtime.brokers import Broker, MemoryBroker, SQLiteBroker
from trunkline.realtime.brokers.base import ID_TTL
from trunkline.realtime.publication import Publication, StreamPosition
from trunkline.testing.brokers import Clock, Events

TTL = {"a": 5, "b": 20}
CHANNELS = st.sampled_from("ab")
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("publish"),
            CHANNELS,
            st.integers(0, 4),
            st.booleans(),
            st.sampled_from([None, "x", "y"]),
        ),
        st.tuples(st.just("read"), CHANNELS, st.integers(0, 12), st.sampled_from([None, 0, 1, 2, 9]), st.booleans()),
        st.tuples(st.just("advance"), st.sampled_from([1, 4, 21, ID_TTL])),
        st.tuples(st.just("subscribe"), CHANNELS),
        st.tuples(st.just("unsubscribe"), CHANNELS),
        st.tuples(st.just("remove"), CHANNELS),
        st.tuples(st.just("reopen")),
        st.tuples(st.just("rest")),  # long enough for a channel to be forgotten
    ),
    max_size=40,
)


class Model:
    """All that was ever published in a channel, and from where on it is kept."""

    def __init__(self) -> None:
        self.publications: dict[int, tuple[bytes, float]] = {}  # by offset: data, time
        self.base = 0  # offset up to which they are forgotten
        self.ttl = 0.0
        self.ids: dict[str, tuple[float, int]] = {}

    @property
    def top(self) -> int:
        return max(self.publications, default=0)

    def kept(self, now: float) -> list[int]:
        for offset in sorted(self.publications):
            if offset > self.base and self.publications[offset][1] + self.ttl > now:
                break
            self.base = max(self.base, offset)
        return [offset for offset in sorted(self.publications) if offset > self.base]


class Play:
    """A broker and the model of it."""

    def __init__(self, make: Callable[[Clock], Broker], durable: bool) -> None:
        self.make = make
        self.durable = durable
        self.clock = Clock()
        self.models: defaultdict[str, Model] = defaultdict(Model)
        self.positions: defaultdict[str, list[StreamPosition]] = defaultdict(list)  # that were ever given out
        self.subscribed: set[str] = set()
        self.delivered: defaultdict[str, list[int]] = defaultdict(list)
        self.number = 0
        self.rested = False

    async def run(self, steps: list[tuple]) -> None:
        await self.open()
        for name, *arguments in steps:
            await getattr(self, name)(*arguments)
        await self.broker.close()

    async def open(self) -> None:
        self.broker, self.events = self.make(self.clock), Events()
        await self.broker.start(self.events)
        self.subscribed.clear()
        self.delivered.clear()
        for channel in "ab":
            self.positions[channel].append((await self.broker.history(channel, limit=0)).position)

    async def publish(self, channel: str, size: int, keep: bool, id: str | None) -> None:
        model, keep, ttl = self.models[channel], keep and size > 0, TTL[channel] if keep else 0
        id = id if keep else None
        self.number += 1
        data = b"%d" % self.number
        position = await self.broker.publish(channel, Publication(data), size=size, ttl=ttl, id=id)
        known = model.ids.get(id) if id else None
        if known is not None and known[0] + ID_TTL > self.clock.now:
            assert position.offset == known[1]
            return
        if not keep:
            assert position == (0, "")
        else:
            assert position.offset > model.top
            assert self.rested or position.offset == model.top + 1
            model.publications[position.offset] = data, self.clock.now
            model.base = max(model.base, sorted(model.publications)[-size:][0] - 1)
            model.ttl = ttl
            if id:
                model.ids[id] = self.clock.now, position.offset
            self.positions[channel].append(position)
        if channel in self.subscribed:
            self.delivered[channel].append(position.offset)

    async def read(self, channel: str, which: int, limit: int | None, reverse: bool) -> None:
        model, positions = self.models[channel], self.positions[channel]
        since = None if which == 0 else positions[which % len(positions)]
        history = await self.broker.history(channel, since=since, limit=limit, reverse=reverse)
        offsets = [
            offset
            for offset in model.kept(self.clock.now)
            if since is None or (offset < since.offset if reverse else offset > since.offset)
        ]
        if since is not None and since.epoch != history.position.epoch:
            assert not self.durable
            assert (history.publications, history.complete) == ([], False)
            return
        wanted = (offsets[::-1] if reverse else offsets)[:limit]
        assert [(each.offset, each.data) for each in history.publications] == [
            (offset, model.publications[offset][0]) for offset in wanted
        ]
        assert history.position.offset == model.top or self.rested
        if since is not None and not reverse:
            nothing_missing = all(offset > model.base for offset in model.publications if offset > since.offset)
            assert history.complete is nothing_missing or (self.rested and not history.complete)
        else:
            assert history.complete

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    async def subscribe(self, channel: str) -> None:
        await self.broker.subscribe(channel)
        self.subscribed.add(channel)

    async def unsubscribe(self, channel: str) -> None:
        await self.broker.unsubscribe(channel)
        self.subscribed.discard(channel)

    async def remove(self, channel: str) -> None:
        await self.broker.remove_history(channel)
        self.models[channel].base = self.models[channel].top

    async def reopen(self) -> None:
        self.check_deliveries()
        await self.broker.close()
        if not self.durable:
            self.models.clear()
        await self.open()

    async def rest(self) -> None:
        await self.clock.advance(1000)
        self.rested = True
        for number in range(3):
            await self.broker.publish(f"other {number}", Publication(b""), size=1, ttl=1)

    def check_deliveries(self) -> None:
        for channel in "ab":
            assert [each.offset for each in self.events.publications[channel]] == self.delivered[channel]


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_memory(steps: list[tuple]) -> None:
    play = Play(lambda clock: MemoryBroker(clock=clock, idle=900), durable=False)
    asyncio.run(play.run(steps))
    play.check_deliveries()


@settings(max_examples=50, deadline=None)
@given(STEPS)
@pytest.mark.parametrize("ring", [2, 300])
def test_sqlite(ring: int, steps: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "trunkline.realtime.brokers.sqlite.RING", ring
        )  # so that reads come from memory and from the disk
        path = Path(directory) / "store.db"
        play = Play(lambda clock: SQLiteBroker(path, synchronous="normal", clock=clock, idle=900), durable=True)
        asyncio.run(play.run(steps))
        play.check_deliveries()
