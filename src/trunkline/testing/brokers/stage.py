"""Where scenarios play: a clock, what a broker told, and how scenarios are registered and played."""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from trunkline.realtime.brokers import Broker, History
from trunkline.realtime.presence import Presence
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition

__all__ = ["Clock", "Events", "PresenceStage", "Scenario", "Stage", "check_broker", "check_presence"]

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

    def on_publications(self, channel: str, publications: Sequence[Publication]) -> None:
        for publication in publications:
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
        publications = self.publications[channel]
        await self.until(lambda: len(publications) >= count, f"publication {count} of {channel}")
        return publications

    async def told(self, channel: str, count: int) -> list[tuple[str, ClientInfo]]:
        """Wait for so many joins and leaves in the channel; returns them.

        Raises:
            AssertionError: as `until`.
        """
        messages = self.others[channel]
        await self.until(lambda: len(messages) >= count, f"join or leave {count} of {channel}")
        return messages

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
        self._others: list[Stage] = []
        self.clock = clock
        self.broker = make(clock)
        self.events = Events()

    def channel(self, name: str = "room") -> str:
        """A channel that no other scenario uses."""
        return f"{self._scene}:{name}"

    async def start(self) -> None:
        """Start the broker."""
        await self.broker.start(self.events)

    async def close(self) -> None:
        """Close the broker, and those of other nodes."""
        for stage in (self, *self._others):
            await stage.broker.close()

    async def another_node(self) -> Stage:
        """Another node, with a broker of its own that is started, where channels are the same."""
        other = Stage(self._make, self.clock)
        other._scene = self._scene
        self._others.append(other)
        await other.start()
        return other

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
        entries = await self.events.received(channel, len(data))
        equal([each.data for each in entries], list(data), f"deliveries in {channel}")

    async def until(self, read: Callable[[], Awaitable[History]], wanted: tuple[list[bytes], bool], what: str) -> None:
        """Read the history until it is as wanted.

        Raises:
            AssertionError: if that takes longer than `PATIENCE`.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while (answer := summary(await read())) != wanted:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            equal(answer, wanted, f"{what}, after {PATIENCE} s")


class PresenceStage:
    """Where a scenario about presence plays.

    Attributes:
        clock: that of the presence.
        presence: started, and closed at the end.
        channel: that no other scenario uses.
    """

    def __init__(self, make: Callable[[Clock], Presence], clock: Clock) -> None:
        self._make = make
        self._others: list[Presence] = []
        self.clock = clock
        self.presence = make(clock)
        self.channel = f"{secrets.token_hex(4)}:room"

    async def start(self) -> None:
        """Start the presence."""
        await self.presence.start()

    async def close(self) -> None:
        """Close it, and those of other nodes."""
        for presence in (self.presence, *self._others):
            await presence.close()

    async def another_node(self) -> Presence:
        """The presence of another node, started."""
        other = self._make(self.clock)
        self._others.append(other)
        await other.start()
        return other

    async def until(self, presence: Presence, wanted: dict[str, ClientInfo]) -> None:
        """Wait until these are in the channel.

        Raises:
            AssertionError: if that takes longer than `PATIENCE`.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                while (entries := await presence.get(self.channel)) != wanted:
                    await asyncio.sleep(0.01)
        except TimeoutError:
            equal(entries, wanted, f"get after {PATIENCE} s")


class Scenario(NamedTuple):
    """One thing that must hold; its `str` names it.

    Attributes:
        name: what it is called.
        doc: what it asks for.
        play: a coroutine function, to be called with the stage.
        needs: "durable" if it is for those only whose memory survives `close`, "shared" if for those that several nodes
            share, "" if for all.
    """

    name: str
    doc: str
    play: Callable[[Any], Awaitable[None]]
    needs: str = ""

    def __str__(self) -> str:
        return self.name


BROKER_SCENARIOS: Final[list[Scenario]] = []
PRESENCE_SCENARIOS: Final[list[Scenario]] = []

Play = Callable[[Any], Awaitable[None]]


def broker_scenario(*, needs: str = "") -> Callable[[Play], Play]:
    """Register a scenario about brokers."""
    return _register(BROKER_SCENARIOS, needs)


def presence_scenario(*, needs: str = "") -> Callable[[Play], Play]:
    """Register a scenario about presence."""
    return _register(PRESENCE_SCENARIOS, needs)


def _register(scenarios: list[Scenario], needs: str) -> Callable[[Play], Play]:
    def register(play: Play) -> Play:
        scenarios.append(Scenario(play.__name__, play.__doc__ or "", play, needs))
        return play

    return register


def check_broker(scenario: Scenario, make: Callable[[Clock], Broker], *, clock: Clock | None = None) -> None:
    """Play a scenario in a new event loop.

    Args:
        scenario: one of `broker_scenarios`.
        make: makes the broker, which isn't started yet; called again for further nodes, and to reopen what was closed.
        clock: what time it is; by default a `Clock` that stands still.

    Raises:
        AssertionError: if the broker does something else.
    """
    _play(scenario, Stage(make, clock or Clock()))


def check_presence(scenario: Scenario, make: Callable[[Clock], Presence], *, clock: Clock | None = None) -> None:
    """Play one of `presence_scenarios` in a new event loop; arguments and errors as for `check_broker`."""
    _play(scenario, PresenceStage(make, clock or Clock()))


def _play(scenario: Scenario, stage: Stage | PresenceStage) -> None:
    async def play() -> None:
        await stage.start()
        try:
            await scenario.play(stage)
        finally:
            await stage.close()

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
