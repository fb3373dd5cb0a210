"""What every broker and every presence must do, as scenarios that your own tests run.

::

    import pytest
    from trunkline.testing.brokers import BROKER_SCENARIOS, check_broker

    @pytest.mark.parametrize("scenario", BROKER_SCENARIOS, ids=str)
    def test_my_broker(scenario, tmp_path):
        check_broker(scenario, lambda clock: MyBroker(tmp_path / "store", clock=clock), durable=True)

The contracts are in the docstrings of `trunkline.realtime.brokers.Broker` and `trunkline.realtime.presence.Presence`;
each scenario's docstring says which part of them it holds a broker to.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from itertools import pairwise
from typing import Any, Final, NamedTuple

from trunkline.realtime.brokers import Broker, BrokerError, History
from trunkline.realtime.brokers.base import ID_TTL
from trunkline.realtime.presence import Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition

__all__ = [
    "BROKER_SCENARIOS",
    "PRESENCE_SCENARIOS",
    "Clock",
    "Events",
    "Scenario",
    "Stage",
    "check_broker",
    "check_presence",
]

PATIENCE: Final = 10
"""Seconds to wait for an event before a scenario fails."""

ADA = ClientInfo("ada", "c1", b'{"name":"Ada"}', b"{}")
BOB = ClientInfo("bob", "c2")


class Clock:
    """A clock that stands still until it is told; calling it gives seconds since 1970.

    For an engine that has a clock of its own, derive from it: let `advance` really sleep.
    """

    def __init__(self, now: float = 1_800_000_000) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    async def advance(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self.now += seconds


class Events:
    """Remembers what a broker tells its node.

    Attributes:
        publications: by channel, in the order of delivery.
        others: by channel, ("join" or "leave", info).
        gaps: the channels of `on_gap`.
        watch: called with each publication, after it was noted.
    """

    def __init__(self) -> None:
        self.publications: defaultdict[str, list[Publication]] = defaultdict(list)
        self.others: defaultdict[str, list[tuple[str, ClientInfo]]] = defaultdict(list)
        self.gaps: list[str | None] = []
        self.watch: Callable[[str, Publication], None] | None = None
        self._news = asyncio.Event()

    def on_publication(self, channel: str, publication: Publication) -> None:
        self.publications[channel].append(publication)
        self._news.set()
        if self.watch is not None:
            self.watch(channel, publication)

    def on_join(self, channel: str, info: ClientInfo) -> None:
        self.others[channel].append(("join", info))
        self._news.set()

    def on_leave(self, channel: str, info: ClientInfo) -> None:
        self.others[channel].append(("leave", info))
        self._news.set()

    def on_gap(self, channel: str | None) -> None:
        self.gaps.append(channel)
        self._news.set()

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for events until the condition holds.

        Raises:
            AssertionError: if that takes longer than `PATIENCE`.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} was not delivered within {PATIENCE} s; {self!r}") from None

    async def received(self, channel: str, count: int) -> list[Publication]:
        """Wait until so many publications were delivered in the channel; returns them.

        Raises:
            AssertionError: as `until`.
        """
        found = self.publications[channel]
        await self.until(lambda: len(found) >= count, f"publication {count} of {channel}")
        return found

    def __repr__(self) -> str:
        return f"<Events publications={dict(self.publications)} others={dict(self.others)} gaps={self.gaps}>"


class Stage:
    """Where a scenario plays.

    Attributes:
        clock: that of the broker.
        broker: started, and closed at the end.
        events: what it told.
    """

    def __init__(self, make: Callable[[Clock], Broker], clock: Clock) -> None:
        self._make = make
        self._scene = secrets.token_hex(4)  # an engine may still know the channels of scenarios before
        self.clock = clock
        self.broker = make(clock)
        self.events = Events()

    def channel(self, name: str = "room") -> str:
        """A channel that no other scenario uses."""
        return f"{self._scene}:{name}"

    async def start(self) -> None:
        """Start the broker."""
        await self.broker.start(self.events)

    async def reopen(self) -> None:
        """Close the broker and start another one on what it kept."""
        await self.broker.close()
        self.broker, self.events = self._make(self.clock), Events()
        await self.broker.start(self.events)

    async def publish(self, channel: str, *data: bytes, size: int = 10, ttl: float = 60) -> list[StreamPosition]:
        """Publish one after the other; returns the positions."""
        return [await self.broker.publish(channel, Publication(each), size=size, ttl=ttl) for each in data]

    async def position(self, channel: str) -> StreamPosition:
        """The newest position of the channel."""
        return (await self.broker.history(channel, limit=0)).position

    async def delivered(self, channel: str, *data: bytes) -> None:
        """Wait until so many publications were delivered, and compare."""
        found = await self.events.received(channel, len(data))
        equal([each.data for each in found], list(data), f"deliveries in {channel}")


class Scenario(NamedTuple):
    """One thing that must hold; its `str` names it.

    Attributes:
        name: what it is called.
        doc: what it asks for.
        play: a coroutine function, to be called with the stage.
        durable: whether it is for those only whose memory survives `close`.
    """

    name: str
    doc: str
    play: Callable[[Any], Awaitable[None]]
    durable: bool = False

    def __str__(self) -> str:
        return self.name


def check_broker(
    scenario: Scenario, make: Callable[[Clock], Broker], *, clock: Clock | None = None, durable: bool = False
) -> None:
    """Play one of `BROKER_SCENARIOS` in a new event loop.

    Args:
        scenario: which.
        make: makes the broker, which isn't started yet; called again to reopen what was closed.
        clock: what time it is; by default a `Clock` that stands still.
        durable: whether what a broker kept is there when it is opened again; scenarios about that do nothing otherwise.

    Raises:
        AssertionError: if the broker does something else.
    """

    async def play() -> None:
        stage = Stage(make, clock or Clock())
        await stage.start()
        try:
            await scenario.play(stage)
        finally:
            await stage.broker.close()

    if durable or not scenario.durable:
        asyncio.run(play())


def check_presence(scenario: Scenario, make: Callable[[Clock], Presence], *, clock: Clock | None = None) -> None:
    """Play one of `PRESENCE_SCENARIOS` in a new event loop; arguments and errors as for `check_broker`."""
    clock = clock or Clock()

    async def play() -> None:
        presence = make(clock)
        await presence.start()
        try:
            await scenario.play(PresenceStage(presence, clock, f"{secrets.token_hex(4)}:room"))
        finally:
            await presence.close()

    asyncio.run(play())


def equal(actual: object, wanted: object, what: str) -> None:
    """Fail unless both are equal."""
    if actual != wanted:
        raise AssertionError(f"{what}: {actual!r}, but it should be {wanted!r}")


def ascending(offsets: Iterable[int], what: str) -> None:
    """Fail unless each offset is larger than the one before."""
    offsets = list(offsets)
    if any(after <= before for before, after in pairwise(offsets)):
        raise AssertionError(f"{what} should ascend: {offsets}")


def summary(history: History) -> tuple[list[bytes], bool]:
    """The data of what was found, and whether it is complete."""
    return [each.data for each in history.publications], history.complete


BROKER_SCENARIOS: list[Scenario] = []
"""What `check_broker` plays."""

PRESENCE_SCENARIOS: list[Scenario] = []
"""What `check_presence` plays."""

Play = Callable[[Any], Awaitable[None]]


def _broker(play: Play) -> Play:
    BROKER_SCENARIOS.append(Scenario(play.__name__, play.__doc__ or "", play))
    return play


def _durable(play: Play) -> Play:
    BROKER_SCENARIOS.append(Scenario(play.__name__, play.__doc__ or "", play, durable=True))
    return play


def _presence(play: Play) -> Play:
    PRESENCE_SCENARIOS.append(Scenario(play.__name__, play.__doc__ or "", play))
    return play


# Delivery


@_broker
async def delivers_every_field(stage: Stage) -> None:
    """A publication arrives, and is remembered, as it was published, with its offset and the time."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    for number, (info, tags) in enumerate([(None, None), (ADA, {"a": "1", "ü": ""}), (BOB, None)], 1):
        position = await stage.broker.publish(
            channel, Publication(b'{"x":1}', info=info, tags=tags, key="k"), size=9, ttl=60
        )
        delivered = (await stage.events.received(channel, number))[-1]
        equal(
            (delivered.data, delivered.info, delivered.tags, delivered.key, delivered.offset),
            (b'{"x":1}', info, tags, "k", position.offset),
            "what was delivered",
        )
        if abs(delivered.time / 1000 - stage.clock()) > PATIENCE:
            raise AssertionError(f"time is {delivered.time} ms, but the clock says {stage.clock()} s")
        equal((await stage.broker.history(channel)).publications[-1], delivered, "what is remembered")
        equal(len(stage.events.publications[channel]), number, "number of deliveries")


@_broker
async def carries_any_bytes(stage: Stage) -> None:
    """Data may be empty, no text, and large."""
    channel = stage.channel()
    data = [b"", b"\xff\x00\r\n", bytes(range(256)) * 2048]
    await stage.broker.subscribe(channel)
    await stage.publish(channel, *data)
    await stage.delivered(channel, *data)
    equal(summary(await stage.broker.history(channel)), (data, True), "history")


@_broker
async def delivers_while_subscribed(stage: Stage) -> None:
    """Nothing before `subscribe` and nothing after `unsubscribe` is delivered; subscribing twice delivers once."""
    channel = stage.channel()
    await stage.publish(channel, b"early")
    await stage.broker.subscribe(channel)
    await stage.broker.subscribe(channel)
    await stage.publish(channel, b"one", b"two")
    await stage.delivered(channel, b"one", b"two")
    await stage.broker.unsubscribe(channel)
    await stage.broker.unsubscribe(channel)
    await stage.publish(channel, b"missed")
    await stage.broker.subscribe(channel)
    await stage.publish(channel, b"three")
    await stage.delivered(channel, b"one", b"two", b"three")


@_broker
async def keeps_channels_apart(stage: Stage) -> None:
    """Names are any text: nothing in them is a wildcard, and none is another's history or subscription."""
    names = ["a", "a.b", "a.*", "a.>", "*", "a b", "a:b", "A", "ä", "日本", "🙂", "a'b\"c", "%41", "a\n", "a" * 200]
    channels = [stage.channel(name) for name in names]
    for channel in channels:
        await stage.broker.subscribe(channel)
    for channel in channels:
        await stage.publish(channel, channel.encode())
    for channel in channels:
        await stage.delivered(channel, channel.encode())
        equal(summary(await stage.broker.history(channel)), ([channel.encode()], True), f"history of {channel}")


@_broker
async def tells_of_joins_and_leaves(stage: Stage) -> None:
    """Joins and leaves reach those who subscribe, in order, and leave no trace in the history."""
    here, elsewhere = stage.channel("here"), stage.channel("elsewhere")
    await stage.broker.subscribe(here)
    await stage.broker.publish_join(elsewhere, BOB)
    await stage.broker.publish_join(here, ADA)
    await stage.broker.publish_leave(here, ADA)
    await stage.events.until(lambda: len(stage.events.others[here]) == 2, "join and leave")
    equal(dict(stage.events.others), {here: [("join", ADA), ("leave", ADA)]}, "joins and leaves")
    equal(summary(await stage.broker.history(here)), ([], True), "history")


@_broker
async def delivers_without_history(stage: Stage) -> None:
    """Without size or ttl a publication is delivered only; what was kept before stays."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    [kept] = await stage.publish(channel, b"kept")
    for size, ttl in [(0, 60), (10, 0), (0, 0)]:
        equal(await stage.publish(channel, b"passing", size=size, ttl=ttl), [StreamPosition(0, "")], "position")
    await stage.delivered(channel, b"kept", b"passing", b"passing", b"passing")
    equal([each.offset for each in stage.events.publications[channel]], [kept.offset, 0, 0, 0], "offsets")
    history = await stage.broker.history(channel)
    equal((summary(history), history.position), (([b"kept"], True), kept), "history")


# Order and atomicity


@_broker
async def keeps_the_order_of_one_publisher(stage: Stage) -> None:
    """Calls of `publish` that follow one another are delivered and remembered in their order."""
    channel = stage.channel()
    data = [b"%d" % number for number in range(200)]
    await stage.broker.subscribe(channel)
    positions = await stage.publish(channel, *data, size=200)
    ascending((each.offset for each in positions), "offsets")
    equal({each.epoch for each in positions}, {positions[0].epoch}, "epochs")
    await stage.delivered(channel, *data)
    equal(summary(await stage.broker.history(channel)), (data, True), "history")


@_broker
async def has_one_order_for_all(stage: Stage) -> None:
    """Many publishers at once: each publication is delivered once, in the order of offsets, as in the history."""
    channels = [stage.channel(name) for name in "abc"]
    for channel in channels:
        await stage.broker.subscribe(channel)
    data = [b"%d" % number for number in range(50)]
    await asyncio.gather(*(stage.publish(channel, each, size=50) for each in data for channel in channels))
    for channel in channels:
        delivered = await stage.events.received(channel, len(data))
        ascending((each.offset for each in delivered), "offsets of deliveries")
        equal(sorted(each.data for each in delivered), sorted(data), "deliveries")
        equal((await stage.broker.history(channel)).publications, delivered, "history")


@_broker
async def remembers_what_it_delivered(stage: Stage) -> None:
    """Who asks for the history in the moment of a delivery finds the publication in it."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    looks: list[asyncio.Task[None]] = []

    async def look(publication: Publication) -> None:
        history = await stage.broker.history(channel)
        if publication.data not in [each.data for each in history.publications]:
            raise AssertionError(f"{publication.data!r} was delivered, but isn't in the history")
        if history.position.offset < publication.offset:
            raise AssertionError(f"{publication.offset} was delivered, but the position is {history.position}")

    stage.events.watch = lambda _, publication: looks.append(asyncio.create_task(look(publication)))
    data = [b"%d" % number for number in range(20)]
    await asyncio.gather(*(stage.publish(channel, each, size=50) for each in data))
    await stage.events.until(lambda: len(looks) == len(data), "all of it")
    await asyncio.gather(*looks)


@_broker
async def leaves_no_hole_between_history_and_delivery(stage: Stage) -> None:
    """Who subscribes while others publish has each publication from the history, from delivery, or from both."""
    channel = stage.channel()
    start = await stage.position(channel)
    data = [b"%d" % number for number in range(60)]

    async def publish(part: list[bytes]) -> None:
        for each in part:
            await stage.publish(channel, each, size=100)
            await asyncio.sleep(0)

    publishing = [asyncio.create_task(publish(data[part::6])) for part in range(6)]
    while (await stage.position(channel)) == start:
        await asyncio.sleep(0)
    await stage.broker.subscribe(channel)
    history = await stage.broker.history(channel, since=start)
    await asyncio.gather(*publishing)
    known = {each.offset: each.data for each in history.publications}
    if history.publications:
        equal(history.publications[-1].offset, history.position.offset, "position of the history")

    def everything() -> dict[int, bytes]:
        later = stage.events.publications[channel]
        return known | {each.offset: each.data for each in later if each.offset > history.position.offset}

    await stage.events.until(lambda: len(everything()) >= len(data), "all of it")
    equal(sorted(everything().values()), sorted(data), "history and deliveries")


@_broker
async def survives_publishers_that_give_up(stage: Stage) -> None:
    """Cancelled calls of `publish` leave no hole and no disorder."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    calls = [asyncio.create_task(stage.publish(channel, b"%d" % number, size=50)) for number in range(20)]
    await asyncio.sleep(0)
    for call in calls[::2]:
        call.cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    await stage.publish(channel, b"last", size=50)
    delivered = stage.events.publications[channel]
    await stage.events.until(lambda: bool(delivered) and delivered[-1].data == b"last", "the last publication")
    accepted = {b"%d" % number for number, result in enumerate(results) if isinstance(result, list)}
    missing = accepted - {each.data for each in delivered}
    equal(missing, set(), "accepted, but not delivered")
    ascending((each.offset for each in delivered), "offsets")
    equal((await stage.broker.history(channel)).publications, delivered, "history")


# History


@_broker
async def finds_what_came_since(stage: Stage) -> None:
    """`since` selects what is newer, and says whether that is all."""
    channel = stage.channel()
    start = await stage.position(channel)
    positions = await stage.publish(channel, b"1", b"2", b"3")
    for position, missed in zip([start, *positions], [[b"1", b"2", b"3"], [b"2", b"3"], [b"3"], []], strict=True):
        history = await stage.broker.history(channel, since=position)
        equal((summary(history), history.position), ((missed, True), positions[-1]), f"since {position}")


@_broker
async def finds_nothing_for_strangers(stage: Stage) -> None:
    """A position of another epoch, or from the future, finds nothing and isn't complete."""
    channel = stage.channel()
    [position] = await stage.publish(channel, b"1")
    for since in [position._replace(epoch="other"), position._replace(offset=position.offset + 1000), StreamPosition()]:
        for reverse in (False, True):
            history = await stage.broker.history(channel, since=since, reverse=reverse)
            equal((summary(history), history.position), (([], False), position), f"since {since}, reverse={reverse}")


@_broker
async def limits_and_reverses(stage: Stage) -> None:
    """`limit` cuts at the far end, `reverse` turns round, and both go with `since`."""
    channel = stage.channel()
    positions = await stage.publish(channel, b"1", b"2", b"3", b"4")
    for since, limit, reverse, wanted in [
        (None, None, False, [b"1", b"2", b"3", b"4"]),
        (None, None, True, [b"4", b"3", b"2", b"1"]),
        (None, 0, False, []),
        (None, 2, False, [b"1", b"2"]),
        (None, 2, True, [b"4", b"3"]),
        (None, 9, True, [b"4", b"3", b"2", b"1"]),
        (0, 2, False, [b"2", b"3"]),
        (0, 0, False, []),
        (3, None, True, [b"3", b"2", b"1"]),
        (3, 1, True, [b"3"]),
        (0, None, True, []),
    ]:
        history = await stage.broker.history(
            channel, since=None if since is None else positions[since], limit=limit, reverse=reverse
        )
        equal(
            (summary(history), history.position),
            ((wanted, True), positions[-1]),
            f"since={since} limit={limit} reverse={reverse}",
        )


@_broker
async def keeps_the_newest(stage: Stage) -> None:
    """No more than `size` stay, the size of the newest publication; who missed others is told."""
    channel = stage.channel()
    positions = await stage.publish(channel, b"1", b"2", b"3", b"4", size=3)
    equal(summary(await stage.broker.history(channel)), ([b"2", b"3", b"4"], True), "of three")
    equal(
        summary(await stage.broker.history(channel, since=positions[0])),
        ([b"2", b"3", b"4"], True),
        "all but the first",
    )
    positions += await stage.publish(channel, b"5", size=2)
    equal(summary(await stage.broker.history(channel)), ([b"4", b"5"], True), "of two")
    equal(summary(await stage.broker.history(channel, since=positions[1])), ([b"4", b"5"], False), "missed the third")
    equal(
        summary(await stage.broker.history(channel, since=positions[1], limit=0)), ([], False), "the same, asked only"
    )
    await stage.publish(channel, b"6", size=5)
    equal(summary(await stage.broker.history(channel)), ([b"4", b"5", b"6"], True), "of five")


@_broker
async def forgets_with_time(stage: Stage) -> None:
    """What is older than the ttl is gone; positions stay."""
    channel = stage.channel()
    start = await stage.position(channel)
    [first] = await stage.publish(channel, b"1", ttl=10)
    await stage.clock.advance(6)
    [second] = await stage.publish(channel, b"2", ttl=10)
    equal(summary(await stage.broker.history(channel, since=start)), ([b"1", b"2"], True), "within the ttl")
    await stage.clock.advance(6)
    equal(summary(await stage.broker.history(channel)), ([b"2"], True), "after the first one's ttl")
    equal(summary(await stage.broker.history(channel, since=first)), ([b"2"], True), "seen the first")
    equal(summary(await stage.broker.history(channel, since=start)), ([b"2"], False), "missed the first")
    await stage.clock.advance(6)
    equal(summary(await stage.broker.history(channel)), ([], True), "after all ttls")
    equal(summary(await stage.broker.history(channel, since=second)), ([], True), "seen all")
    equal(summary(await stage.broker.history(channel, since=first)), ([], False), "missed the second")
    equal(await stage.position(channel), second, "position")
    [third] = await stage.publish(channel, b"3", ttl=10)
    ascending([first.offset, second.offset, third.offset], "offsets")
    equal(summary(await stage.broker.history(channel, since=second)), ([b"3"], True), "seen all, again")


@_broker
async def removes_history(stage: Stage) -> None:
    """After `remove_history` only those recover who had seen all."""
    channel, other = stage.channel(), stage.channel("other")
    first, second = await stage.publish(channel, b"1", b"2")
    await stage.publish(other, b"other")
    await stage.broker.remove_history(channel)
    await stage.broker.remove_history(stage.channel("unknown"))
    equal(summary(await stage.broker.history(channel)), ([], True), "history")
    equal(summary(await stage.broker.history(channel, since=first)), ([], False), "missed one")
    equal(summary(await stage.broker.history(channel, since=second)), ([], True), "missed none")
    [third] = await stage.publish(channel, b"3")
    ascending([second.offset, third.offset], "offsets")
    equal(summary(await stage.broker.history(channel, since=second)), ([b"3"], True), "missed none, again")
    equal(summary(await stage.broker.history(other)), ([b"other"], True), "history of another channel")


@_broker
async def never_uses_an_offset_twice(stage: Stage) -> None:
    """However long a channel rests: who remembers a place in it recovers all that followed, or learns that he can't."""
    channel = stage.channel()
    positions = [await stage.position(channel), *await stage.publish(channel, b"1", b"2", ttl=10)]
    await stage.clock.advance(366 * 86400)
    for number in range(10):  # a broker that tidies up as it goes has time to
        await stage.publish(stage.channel(f"other {number}"), b"x")
    await stage.publish(channel, b"3", b"4", b"5", ttl=10)
    for seen, position in enumerate(positions):
        found, complete = summary(await stage.broker.history(channel, since=position))
        if complete:
            equal((seen, found), (2, [b"3", b"4", b"5"]), f"recovered since {position}")


# Ids


@_broker
async def knows_ids_again(stage: Stage) -> None:
    """A repeated id publishes nothing, and gets the first one's position; ids belong to a channel, and expire."""
    channel, other = stage.channel(), stage.channel("other")

    async def publish(channel: str, data: bytes, id: str) -> StreamPosition:
        return await stage.broker.publish(channel, Publication(data), size=10, ttl=86400, id=id)

    await stage.broker.subscribe(channel)
    first = await publish(channel, b"1", "a")
    equal(await publish(channel, b"2", "a"), first, "position of the repeated id")
    await publish(channel, b"3", "b")
    await publish(other, b"4", "a")
    await stage.clock.advance(ID_TTL + 1)
    await publish(channel, b"5", "a")
    await stage.delivered(channel, b"1", b"3", b"5")
    equal(summary(await stage.broker.history(channel)), ([b"1", b"3", b"5"], True), "history")
    equal(summary(await stage.broker.history(other)), ([b"4"], True), "history of the other channel")


@_broker
async def knows_ids_at_once(stage: Stage) -> None:
    """The same id many times at the same moment: one publication, one position."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    calls = (stage.broker.publish(channel, Publication(b"1"), size=9, ttl=60, id="a") for _ in range(9))
    positions = set(await asyncio.gather(*calls))
    equal(len(positions), 1, "number of positions")
    await stage.publish(channel, b"2")
    await stage.delivered(channel, b"1", b"2")


@_broker
async def refuses_ids_without_history(stage: Stage) -> None:
    """An id without history raises ValueError before anything is delivered."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    for size, ttl in [(0, 0), (10, 0), (0, 60)]:
        try:
            await stage.broker.publish(channel, Publication(b"1"), size=size, ttl=ttl, id="a")
        except ValueError:
            pass
        else:
            raise AssertionError(f"publish(size={size}, ttl={ttl}, id='a') should raise ValueError")
    await stage.publish(channel, b"2")
    await stage.delivered(channel, b"2")


# Life


@_broker
async def refuses_calls_after_close(stage: Stage) -> None:
    """A closed broker raises BrokerError, and can be closed again."""
    channel = stage.channel()
    await stage.broker.close()
    await stage.broker.close()
    broker = stage.broker
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "publish": lambda: stage.publish(channel, b"1"),
        "publish without history": lambda: stage.publish(channel, b"1", size=0),
        "publish_join": lambda: broker.publish_join(channel, ADA),
        "publish_leave": lambda: broker.publish_leave(channel, ADA),
        "subscribe": lambda: broker.subscribe(channel),
        "history": lambda: broker.history(channel),
        "remove_history": lambda: broker.remove_history(channel),
    }
    for name, call in calls.items():
        try:
            await call()
        except BrokerError:
            continue
        raise AssertionError(f"{name} should raise BrokerError after close")


@_broker
async def finishes_before_it_closes(stage: Stage) -> None:
    """What was accepted before `close` is delivered; what is on its way is, or raises BrokerError."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    calls = [asyncio.create_task(stage.publish(channel, b"%d" % number, size=50)) for number in range(20)]
    await asyncio.sleep(0)
    events = stage.events
    await stage.broker.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    for number, result in enumerate(results):
        delivered = any(each.data == b"%d" % number for each in events.publications[channel])
        if isinstance(result, list) != delivered or not isinstance(result, (list, BrokerError)):
            raise AssertionError(f"publish returned {result!r}, and delivered is {delivered}")


@_durable
async def remembers_over_a_restart(stage: Stage) -> None:
    """Publications, offsets and epoch survive; who was there before recovers."""
    channel, expired = stage.channel(), stage.channel("expired")
    start = await stage.position(channel)
    await stage.broker.publish(channel, Publication(b"1", info=ADA, tags={"a": "b"}, key="k"), size=10, ttl=60)
    [second] = await stage.publish(channel, b"2")
    [gone] = await stage.publish(expired, b"3", ttl=1)
    before = await stage.broker.history(channel)
    await stage.clock.advance(30)
    await stage.reopen()
    equal(await stage.broker.history(channel), before, "history")
    equal(await stage.position(expired), gone, "position of a channel whose publications expired")
    equal(summary(await stage.broker.history(expired, since=gone)), ([], True), "the same, recovered")
    await stage.broker.subscribe(channel)
    [third] = await stage.publish(channel, b"4")
    await stage.delivered(channel, b"4")
    ascending([second.offset, third.offset], "offsets")
    equal(summary(await stage.broker.history(channel, since=start)), ([b"1", b"2", b"4"], True), "since the start")
    equal(summary(await stage.broker.history(channel, since=second)), ([b"4"], True), "since the second")


@_durable
async def forgets_over_a_restart(stage: Stage) -> None:
    """Limits hold while nobody is there: what expired meanwhile is gone, what was removed stays removed."""
    old, removed = stage.channel("old"), stage.channel("removed")
    [first] = await stage.publish(old, b"1", ttl=10)
    await stage.clock.advance(6)
    await stage.publish(old, b"2", ttl=10)
    [last] = await stage.publish(removed, b"3")
    await stage.broker.remove_history(removed)
    await stage.reopen()
    await stage.clock.advance(6)
    equal(summary(await stage.broker.history(old, since=first)), ([b"2"], True), "after the first one's ttl")
    equal(summary(await stage.broker.history(old)), ([b"2"], True), "the same, without a position")
    equal(summary(await stage.broker.history(removed, since=last)), ([], True), "removed")


@_durable
async def knows_ids_over_a_restart(stage: Stage) -> None:
    """Who repeats a publication after a restart, not knowing whether it was accepted, does no harm."""
    channel = stage.channel()
    first = await stage.broker.publish(channel, Publication(b"1"), size=9, ttl=60, id="a")
    await stage.reopen()
    again = await stage.broker.publish(channel, Publication(b"1"), size=9, ttl=60, id="a")
    equal(again, first, "position of the repeated id")
    equal(summary(await stage.broker.history(channel)), ([b"1"], True), "history")


# Presence


class PresenceStage(NamedTuple):
    """Where a scenario about presence plays."""

    presence: Presence
    clock: Clock
    channel: str


@_presence
async def knows_who_is_there(stage: PresenceStage) -> None:
    """Who was added and not removed is there; channels are apart."""
    presence, _, channel = stage
    await presence.add(channel, "c1", ADA)
    await presence.add(channel, "c2", BOB)
    await presence.add(channel + " 2", "c1", ADA)
    equal(await presence.get(channel), {"c1": ADA, "c2": BOB}, "get")
    await presence.remove(channel, "c1")
    await presence.remove(channel, "nobody")
    await presence.remove(channel + " 3", "nobody")
    equal(await presence.get(channel), {"c2": BOB}, "get after remove")
    equal(await presence.get(channel + " 2"), {"c1": ADA}, "get of another channel")
    await presence.remove(channel, "c2")
    equal(await presence.get(channel), {}, "get of an empty channel")
    await presence.remove(channel + " 2", "c1")


@_presence
async def counts_clients_and_users(stage: PresenceStage) -> None:
    """A user with two connections is one user."""
    presence, _, channel = stage
    equal(await presence.stats(channel), PresenceStats(0, 0), "stats of an empty channel")
    for client, user in [("c1", "ada"), ("c2", "ada"), ("c3", "bob"), ("c4", ""), ("c5", "")]:
        await presence.add(channel, client, ClientInfo(user, client))
    equal(await presence.stats(channel), PresenceStats(5, 3), "stats")
    await presence.remove(channel, "c1")
    await presence.remove(channel, "c3")
    equal(await presence.stats(channel), PresenceStats(3, 2), "stats after two left")


@_presence
async def replaces_information(stage: PresenceStage) -> None:
    """Adding again counts once, and the newest information holds."""
    presence, _, channel = stage
    newer = ClientInfo("eve", "c1", b"1", b"2")
    await presence.add(channel, "c1", ADA)
    await presence.add(channel, "c1", ADA)
    equal((await presence.get(channel), await presence.stats(channel)), ({"c1": ADA}, (1, 1)), "added twice")
    await presence.add(channel, "c1", newer)
    equal((await presence.get(channel), await presence.stats(channel)), ({"c1": newer}, (1, 1)), "changed")


@_presence
async def gives_its_answer_away(stage: PresenceStage) -> None:
    """Changing what `get` returned changes nothing else."""
    presence, _, channel = stage
    await presence.add(channel, "c1", ADA)
    (await presence.get(channel)).clear()
    equal(await presence.get(channel), {"c1": ADA}, "get")


@_presence
async def takes_many_at_once(stage: PresenceStage) -> None:
    """Calls for different clients don't disturb each other."""
    presence, _, channel = stage
    infos = {f"c{number}": ClientInfo(f"u{number % 7}", f"c{number}") for number in range(100)}
    await asyncio.gather(*(presence.add(channel, client, info) for client, info in infos.items()))
    equal((await presence.get(channel), await presence.stats(channel)), (infos, (100, 7)), "all added")
    await asyncio.gather(*(presence.remove(channel, client) for client in infos))
    equal((await presence.get(channel), await presence.stats(channel)), ({}, (0, 0)), "all removed")


@_presence
async def expires(stage: PresenceStage) -> None:
    """Who isn't added again within the ttl is gone; without a ttl everybody stays."""
    presence, clock, channel = stage
    await presence.add(channel, "c1", ADA)
    await presence.add(channel, "c2", BOB)
    if presence.ttl is None:
        await clock.advance(366 * 86400)
        equal(await presence.get(channel), {"c1": ADA, "c2": BOB}, "get after a year")
        return
    await clock.advance(presence.ttl * 0.6)
    await presence.add(channel, "c1", ADA)
    await clock.advance(presence.ttl * 0.6)
    equal((await presence.get(channel), await presence.stats(channel)), ({"c1": ADA}, (1, 1)), "one was renewed")
    await clock.advance(presence.ttl * 0.6)
    equal((await presence.get(channel), await presence.stats(channel)), ({}, (0, 0)), "none was renewed")
