"""Scenarios: who is in a channel."""

from __future__ import annotations

import asyncio

from trunkline.realtime.presence import PresenceEntry, PresenceStats
from trunkline.realtime.publication import ClientInfo
from trunkline.testing.brokers.stage import ADA, BOB, PresenceStage, equal, presence_scenario


@presence_scenario()
async def knows_who_is_there(stage: PresenceStage) -> None:
    """An entry that was added and not removed is there; channels are apart."""
    presence, channel = stage.presence, stage.channel
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


@presence_scenario()
async def counts_clients_and_users(stage: PresenceStage) -> None:
    """A user with two connections is one user."""
    presence, channel = stage.presence, stage.channel
    equal(await presence.stats(channel), PresenceStats(0, 0), "stats of an empty channel")
    for client, user in [("c1", "ada"), ("c2", "ada"), ("c3", "bob"), ("c4", ""), ("c5", "")]:
        await presence.add(channel, client, ClientInfo(user, client))
    equal(await presence.stats(channel), PresenceStats(5, 3), "stats")
    await presence.remove(channel, "c1")
    await presence.remove(channel, "c3")
    equal(await presence.stats(channel), PresenceStats(3, 2), "stats after two left")


@presence_scenario()
async def replaces_information(stage: PresenceStage) -> None:
    """Adding again counts once, and the newest information holds."""
    presence, channel = stage.presence, stage.channel
    newer = ClientInfo("eve", "c1", b"1", b"2")
    await presence.add(channel, "c1", ADA)
    await presence.add(channel, "c1", ADA)
    equal((await presence.get(channel), await presence.stats(channel)), ({"c1": ADA}, (1, 1)), "added twice")
    await presence.add(channel, "c1", newer)
    equal((await presence.get(channel), await presence.stats(channel)), ({"c1": newer}, (1, 1)), "changed")


@presence_scenario()
async def gives_its_answer_away(stage: PresenceStage) -> None:
    """Changing what `get` returned changes nothing else."""
    presence, channel = stage.presence, stage.channel
    await presence.add(channel, "c1", ADA)
    (await presence.get(channel)).clear()
    equal(await presence.get(channel), {"c1": ADA}, "get")


@presence_scenario()
async def takes_many_at_once(stage: PresenceStage) -> None:
    """Calls for different clients don't disturb each other."""
    presence, channel = stage.presence, stage.channel
    infos = {f"c{number}": ClientInfo(f"u{number % 7}", f"c{number}") for number in range(100)}
    await asyncio.gather(*(presence.add(channel, client, info) for client, info in infos.items()))
    equal((await presence.get(channel), await presence.stats(channel)), (infos, (100, 7)), "all added")
    await asyncio.gather(*(presence.remove(channel, client) for client in infos))
    equal((await presence.get(channel), await presence.stats(channel)), ({}, (0, 0)), "all removed")


@presence_scenario()
async def adds_many_in_one_call(stage: PresenceStage) -> None:
    """`add_many` has the effect of `add` for each entry, also where it renews some and adds others."""
    presence, channel = stage.presence, stage.channel
    newer = ClientInfo("ada", "c1", b"1")
    await presence.add(channel, "c1", ADA)
    await presence.add_many([])
    entries = [PresenceEntry(channel, f"c{number}", ClientInfo("bob", f"c{number}")) for number in range(2, 100)]
    other = PresenceEntry(channel + " 2", "c1", BOB)
    await presence.add_many([PresenceEntry(channel, "c1", newer), other, *entries])
    expected = {"c1": newer} | {entry.client: entry.info for entry in entries}
    equal((await presence.get(channel), await presence.stats(channel)), (expected, (99, 2)), "all added")
    equal(await presence.get(channel + " 2"), {"c1": BOB}, "get of another channel")


@presence_scenario()
async def expires(stage: PresenceStage) -> None:
    """An entry that isn't added again within the ttl expires; without a ttl every entry stays."""
    presence, clock, channel = stage.presence, stage.clock, stage.channel
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


@presence_scenario(needs="shared")
async def is_the_same_on_every_node(stage: PresenceStage) -> None:
    """A node sees within seconds the entries that another adds, changes and removes."""
    presence, clock, channel = stage.presence, stage.clock, stage.channel
    other = await stage.another_node()
    await presence.add(channel, "c1", ADA)
    await other.add(channel, "c2", BOB)
    for node in (presence, other):
        await stage.until(node, {"c1": ADA, "c2": BOB})
        equal(await node.stats(channel), PresenceStats(2, 2), "stats")
    await other.remove(channel, "c2")
    await stage.until(presence, {"c1": ADA})
    if presence.ttl is not None:
        await clock.advance(presence.ttl * 1.2)
        equal(await other.get(channel), {}, "get after the ttl")
