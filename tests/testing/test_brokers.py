"""The conformance suite finds what is wrong: brokers with one fault each fail the scenario that is about it."""

import asyncio

import pytest

from trunkline.realtime.brokers import Broker, History, MemoryBroker
from trunkline.realtime.brokers.local import Stream
from trunkline.realtime.presence import MemoryPresence, PresenceStats
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition
from trunkline.testing.brokers import (
    BROKER_SCENARIOS,
    PRESENCE_SCENARIOS,
    Clock,
    check_broker,
    check_presence,
)


class DeliversToAll(MemoryBroker):
    def _deliver(self, channel, publication):
        self._running().on_publication(channel, publication)


class DeliversTwice(MemoryBroker):
    def _deliver(self, channel, publication):
        super()._deliver(channel, publication)
        super()._deliver(channel, publication)


class DeliversLate(MemoryBroker):
    """Not in order: the first publication of all waits."""

    late = True

    def _deliver(self, channel, publication):
        if self.late:
            self.late = False
            asyncio.get_running_loop().call_later(0.01, super()._deliver, channel, publication)
        else:
            super()._deliver(channel, publication)


class DeliversFirst(MemoryBroker):
    """Before the publication is in the history."""

    async def publish(self, channel, publication, *, size=0, ttl=0, id=None):
        if size:
            publication.offset = self._stream(channel, self._now()).top + 1
            self._deliver(channel, publication)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        subscribed, self._subscribed = self._subscribed, set()
        try:
            return await super().publish(channel, publication, size=size, ttl=ttl, id=id)
        finally:
            self._subscribed = subscribed


class LosesOne(MemoryBroker):
    """Between the history of a new subscriber and what is delivered."""

    async def history(self, channel, *, since=None, limit=None, reverse=False):
        history = await super().history(channel, since=since, limit=limit, reverse=reverse)
        if limit is None and channel in self._subscribed:
            self._subscribed.discard(channel)
            await asyncio.sleep(0)
            self._subscribed.add(channel)
        return history


class TrimsNothing(MemoryBroker):
    async def publish(self, channel, publication, *, size=0, ttl=0, id=None):
        return await super().publish(channel, publication, size=size and 1000, ttl=ttl, id=id)


class IgnoresTime(MemoryBroker):
    async def publish(self, channel, publication, *, size=0, ttl=0, id=None):
        return await super().publish(channel, publication, size=size, ttl=ttl and 10**9, id=id)


class ClaimsToBeComplete(MemoryBroker):
    async def history(self, channel, *, since=None, limit=None, reverse=False):
        history = await super().history(channel, since=since, limit=limit, reverse=reverse)
        return History(history.publications, history.position, True)


class IgnoresLimit(MemoryBroker):
    async def history(self, channel, *, since=None, limit=None, reverse=False):
        return await super().history(channel, since=since, reverse=reverse)


class StartsAgain(MemoryBroker):
    """Offsets of a forgotten channel are used again, in the same epoch."""

    def _stream(self, channel, now):
        return self._streams.setdefault(channel, Stream(0, now))


class ForgetsIds(MemoryBroker):
    async def publish(self, channel, publication, *, size=0, ttl=0, id=None):
        return await super().publish(channel, publication, size=size, ttl=ttl)


class ForgetsPositions(MemoryBroker):
    async def remove_history(self, channel):
        self._streams.pop(channel, None)


class ForgetsTags(MemoryBroker):
    async def publish(self, channel, publication, *, size=0, ttl=0, id=None):
        publication.tags = None
        return await super().publish(channel, publication, size=size, ttl=ttl, id=id)


class KeepsJoins(MemoryBroker):
    async def publish_join(self, channel, info):
        await super().publish_join(channel, info)
        await self.publish(channel, Publication(b"join"), size=10, ttl=60)


class FoldsNames(MemoryBroker):
    async def history(self, channel, *, since=None, limit=None, reverse=False):
        return await super().history(channel.lower(), since=since, limit=limit, reverse=reverse)


class StaysOpen(MemoryBroker):
    async def close(self):
        pass


@pytest.mark.parametrize(
    ("make", "scenario"),
    [
        (DeliversToAll, "delivers_while_subscribed"),
        (DeliversTwice, "delivers_every_field"),
        (DeliversTwice, "knows_ids_at_once"),
        (DeliversLate, "keeps_the_order_of_one_publisher"),
        (DeliversLate, "has_one_order_for_all"),
        (DeliversFirst, "remembers_what_it_delivered"),
        (LosesOne, "leaves_no_hole_between_history_and_delivery"),
        (TrimsNothing, "keeps_the_newest"),
        (IgnoresTime, "forgets_with_time"),
        (ClaimsToBeComplete, "finds_nothing_for_strangers"),
        (ClaimsToBeComplete, "keeps_the_newest"),
        (ClaimsToBeComplete, "removes_history"),
        (IgnoresLimit, "limits_and_reverses"),
        (StartsAgain, "never_uses_an_offset_twice"),
        (ForgetsIds, "knows_ids_again"),
        (ForgetsIds, "refuses_ids_without_history"),
        (ForgetsPositions, "removes_history"),
        (ForgetsTags, "delivers_every_field"),
        (KeepsJoins, "tells_of_joins_and_leaves"),
        (FoldsNames, "keeps_channels_apart"),
        (StaysOpen, "refuses_calls_after_close"),
    ],
)
def test_finds_faults_of_brokers(make: type[MemoryBroker], scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.testing.brokers.PATIENCE", 0.2)
    [found] = [each for each in BROKER_SCENARIOS if each.name == scenario]
    with pytest.raises(AssertionError):
        check_broker(found, lambda clock: make(clock=clock))


@pytest.mark.parametrize("scenario", [each for each in BROKER_SCENARIOS if each.durable], ids=str)
def test_memory_is_not_durable(scenario) -> None:
    with pytest.raises(AssertionError):
        check_broker(scenario, lambda clock: MemoryBroker(clock=clock), durable=True)


class CountsClients(MemoryPresence):
    async def stats(self, channel):
        count = len(await self.get(channel))
        return PresenceStats(count, count)


class AddsTwice(MemoryPresence):
    async def add(self, channel, client, info):
        await super().add(channel, client if client not in await self.get(channel) else client + "'", info)


class GivesItself(MemoryPresence):
    async def get(self, channel):
        return self._channels[channel].infos if channel in self._channels else {}


class NeverRenews(MemoryPresence):
    async def add(self, channel, client, info):
        if client not in await self.get(channel):
            await super().add(channel, client, info)


@pytest.mark.parametrize(
    ("make", "scenario"),
    [
        (CountsClients, "counts_clients_and_users"),
        (AddsTwice, "replaces_information"),
        (GivesItself, "gives_its_answer_away"),
        (NeverRenews, "expires"),
        (NeverRenews, "replaces_information"),
    ],
)
def test_finds_faults_of_presences(make: type[MemoryPresence], scenario: str) -> None:
    [found] = [each for each in PRESENCE_SCENARIOS if each.name == scenario]
    with pytest.raises(AssertionError):
        check_presence(found, lambda clock: make(30, clock=clock))


def test_every_scenario_says_what_it_asks_for() -> None:
    assert all(each.doc and str(each) == each.name for each in BROKER_SCENARIOS + PRESENCE_SCENARIOS)


def test_a_clock_of_the_engine_can_be_used() -> None:
    class Ticking(Clock):
        passed = 0.0

        async def advance(self, seconds: float) -> None:
            self.passed += seconds
            await super().advance(seconds)

    clock = Ticking()
    seen: list[Clock] = []

    def make(clock: Clock) -> Broker:
        seen.append(clock)
        return MemoryBroker(clock=clock)

    [scenario] = [each for each in BROKER_SCENARIOS if each.name == "forgets_with_time"]
    check_broker(scenario, make, clock=clock)
    assert seen == [clock]
    assert clock.passed == 18


def test_events_are_plain() -> None:
    assert StreamPosition() == (0, "")
    assert ClientInfo() == ClientInfo("", "", None, None)
