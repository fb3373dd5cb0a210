"""The conformance suite finds what is wrong: brokers with one fault each fail the scenario that is about it."""

import asyncio
import builtins

import pytest

from trunkline.realtime.brokers import Broker, BrokerEvents, History, MemoryBroker
from trunkline.realtime.brokers.local import LocalBroker
from trunkline.realtime.presence import MemoryPresence, PresenceStats
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition
from trunkline.testing.brokers import (
    Clock,
    Scenario,
    broker_scenarios,
    check_broker,
    check_presence,
    presence_scenarios,
)


class DeliversToAll(MemoryBroker):
    def _deliver(self, channel, publication):
        self._running().on_publications(channel, [publication])


class DeliversTwice(MemoryBroker):
    def _deliver(self, channel, publication):
        super()._deliver(channel, publication)
        super()._deliver(channel, publication)


class DeliversLate(MemoryBroker):
    """Not in order: the first publication of all waits."""

    waits = True

    def _deliver(self, channel, publication):
        if self.waits:
            self.waits = False
            asyncio.get_running_loop().call_later(0.01, super()._deliver, channel, publication)
        else:
            super()._deliver(channel, publication)


class DeliversFirst(MemoryBroker):
    """Before the publication is in the history."""

    async def publish(self, channel, publication, *, size=0, ttl=0, id=None):
        if size:
            publication.offset = self._wake(channel).top + 1
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

    def _rest(self, channel):
        super()._rest(channel)
        if channel in self._resting:
            self._forget(channel)
            self._floor = 0


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
    monkeypatch.setattr("trunkline.testing.brokers.stage.PATIENCE", 0.2)
    [named] = [each for each in broker_scenarios() if each.name == scenario]
    with pytest.raises(AssertionError):
        check_broker(named, lambda clock: make(clock=clock))


@pytest.mark.parametrize(
    "scenario", [each for each in broker_scenarios(durable=True, shared=True) if each.needs], ids=str
)
def test_memory_is_neither_durable_nor_shared(scenario: Scenario, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.testing.brokers.stage.PATIENCE", 0.2)
    with pytest.raises(AssertionError):
        check_broker(scenario, lambda clock: MemoryBroker(clock=clock))


class Cluster(BrokerEvents):
    """The state that several nodes share: the history, and who subscribes to what."""

    def __init__(self) -> None:
        self.broker: MemoryBroker | None = None
        self.nodes: list[NodeBroker] = []

    async def join(self, node: "NodeBroker", clock: Clock) -> MemoryBroker:
        if self.broker is None:
            self.broker = MemoryBroker(clock=clock)
            await self.broker.start(self)
        self.nodes.append(node)
        return self.broker

    def on_publications(self, channel, publications):
        for node in self.nodes:
            node._deliver(channel, *publications)

    def on_join(self, channel, info):
        for node in self.nodes:
            node._tell(channel, node._events.on_join, info)

    def on_leave(self, channel, info):
        for node in self.nodes:
            node._tell(channel, node._events.on_leave, info)


class NodeBroker(LocalBroker):
    """The broker of one of several nodes."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        super().__init__()
        self._cluster = cluster
        self._clock = clock

    async def start(self, events):
        await super().start(events)
        self._shared = await self._cluster.join(self, self._clock)

    async def close(self):
        if self in self._cluster.nodes:
            self._cluster.nodes.remove(self)
        await super().close()

    async def subscribe(self, channel):
        await super().subscribe(channel)
        await self._shared.subscribe(channel)

    async def publish(self, channel, publication, **options):
        self._running()
        return await self._shared.publish(channel, publication, **options)

    async def publish_join(self, channel, info):
        self._running()
        await self._shared.publish_join(channel, info)

    async def publish_leave(self, channel, info):
        self._running()
        await self._shared.publish_leave(channel, info)

    async def history(self, channel, **options):
        self._running()
        return await self._shared.history(channel, **options)

    async def remove_history(self, channel):
        self._running()
        await self._shared.remove_history(channel)


@pytest.mark.parametrize("scenario", broker_scenarios(shared=True), ids=str)
def test_nodes_can_share_a_broker(scenario: Scenario) -> None:
    cluster = Cluster()
    check_broker(scenario, lambda clock: NodeBroker(cluster, clock))


class ClosesAll(NodeBroker):
    async def close(self):
        self._cluster.nodes.clear()


class KnowsItsOwnIds(NodeBroker):
    async def publish(self, channel, publication, *, id=None, **options):
        return await super().publish(channel, publication, id=id and f"{id} {builtins.id(self)}", **options)


class OutOfOrder(NodeBroker):
    """The first publication that another node has delivered comes later to this one."""

    waits = True

    def _deliver(self, channel, publication):
        if self.waits and self is not self._cluster.nodes[0]:
            self.waits = False
            asyncio.get_running_loop().call_later(0.01, super()._deliver, channel, publication)
        else:
            super()._deliver(channel, publication)


@pytest.mark.parametrize(
    ("make", "scenario"),
    [
        (ClosesAll, "subscribes_each_node_for_itself"),
        (KnowsItsOwnIds, "knows_ids_on_every_node"),
        (OutOfOrder, "has_one_order_on_all_nodes"),
    ],
)
def test_finds_faults_of_nodes(make: type[NodeBroker], scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.testing.brokers.stage.PATIENCE", 0.2)
    [named] = [each for each in broker_scenarios(shared=True) if each.name == scenario]
    cluster = Cluster()
    with pytest.raises(AssertionError):
        check_broker(named, lambda clock: make(cluster, clock))


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
    [named] = [each for each in presence_scenarios() if each.name == scenario]
    with pytest.raises(AssertionError):
        check_presence(named, lambda clock: make(30, clock=clock))


class SharedPresence(MemoryPresence):
    """The presence of one of several nodes."""

    def __init__(self, ttl: float | None, clock: Clock, channels: dict) -> None:
        super().__init__(ttl, clock=clock)
        self._channels = channels


@pytest.mark.parametrize("ttl", [None, 30])
@pytest.mark.parametrize("scenario", presence_scenarios(shared=True), ids=str)
def test_nodes_can_share_a_presence(scenario: Scenario, ttl: float | None) -> None:
    channels: dict = {}
    check_presence(scenario, lambda clock: SharedPresence(ttl, clock, channels))


def test_memory_presence_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trunkline.testing.brokers.stage.PATIENCE", 0.2)
    [scenario] = [each for each in presence_scenarios(shared=True) if each.needs]
    with pytest.raises(AssertionError):
        check_presence(scenario, lambda clock: MemoryPresence(30, clock=clock))


def test_every_scenario_says_what_it_asks_for() -> None:
    assert all(
        each.doc and str(each) == each.name
        for each in broker_scenarios(durable=True, shared=True) + presence_scenarios(shared=True)
    )


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

    [scenario] = [each for each in broker_scenarios() if each.name == "forgets_with_time"]
    check_broker(scenario, make, clock=clock)
    assert seen == [clock]
    assert clock.passed == 18


def test_events_are_plain() -> None:
    assert StreamPosition() == (0, "")
    assert ClientInfo() == ClientInfo("", "", None, None)
