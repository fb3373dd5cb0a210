"""Scenarios for brokers that several nodes share."""

from __future__ import annotations

import asyncio

from trunkline.realtime.publication import Publication
from trunkline.testing.brokers.stage import ADA, BOB, Stage, ascending, broker_scenario, equal, summary


@broker_scenario(needs="shared")
async def reaches_every_node(stage: Stage) -> None:
    """Publications, joins and leaves arrive at each node that subscribes, its own and those of others."""
    channel, other = stage.channel(), await stage.another_node()
    for node in (stage, other):
        await node.broker.subscribe(channel)
    await stage.publish(channel, b"1")
    for node in (stage, other):
        await node.delivered(channel, b"1")
    await other.publish(channel, b"2")
    await other.broker.publish(channel, Publication(b"3"))
    await stage.broker.publish_join(channel, ADA)
    await stage.broker.publish_leave(channel, BOB)
    for node in (stage, other):
        await node.delivered(channel, b"1", b"2", b"3")
        equal(await node.events.told(channel, 2), [("join", ADA), ("leave", BOB)], "joins and leaves")


@broker_scenario(needs="shared")
async def has_one_order_on_all_nodes(stage: Stage) -> None:
    """Whichever node publishes: all have the same publications with the same offsets in the same order."""
    channel, other = stage.channel(), await stage.another_node()
    data = [b"%d" % number for number in range(50)]
    for node in (stage, other):
        await node.broker.subscribe(channel)
    await asyncio.gather(
        *(node.publish(channel, each, size=50) for node, part in ((stage, 0), (other, 1)) for each in data[part::2])
    )
    first = await stage.events.received(channel, len(data))
    second = await other.events.received(channel, len(data))
    ascending((each.offset for each in first), "offsets")
    equal([(each.offset, each.data) for each in second], [(each.offset, each.data) for each in first], "deliveries")
    equal(sorted(each.data for each in first), sorted(data), "what was delivered")
    for node in (stage, other):
        equal((await node.broker.history(channel)).publications, first, "history")


@broker_scenario(needs="shared")
async def recovers_on_another_node(stage: Stage) -> None:
    """A position that one node gave out is good at the other."""
    channel, other = stage.channel(), await stage.another_node()
    start = await other.position(channel)
    [first] = await stage.publish(channel, b"1")
    [second] = await other.publish(channel, b"2")
    equal(first.epoch, second.epoch, "epochs")
    for since, missed in [(start, [b"1", b"2"]), (first, [b"2"]), (second, [])]:
        equal(summary(await other.broker.history(channel, since=since)), (missed, True), f"since {since}")


@broker_scenario(needs="shared")
async def subscribes_each_node_for_itself(stage: Stage) -> None:
    """When one node unsubscribes, or closes, the other's subscription goes on."""
    channel, other = stage.channel(), await stage.another_node()
    third = await stage.another_node()
    for node in (stage, other, third):
        await node.broker.subscribe(channel)
    await other.broker.unsubscribe(channel)
    await third.broker.close()
    await stage.publish(channel, b"1")
    await stage.delivered(channel, b"1")
    await other.broker.subscribe(channel)
    await stage.publish(channel, b"2")
    await other.delivered(channel, b"2")


@broker_scenario(needs="shared")
async def knows_ids_on_every_node(stage: Stage) -> None:
    """A caller in doubt whether one node accepted a publication can repeat it at the other."""
    channel, other = stage.channel(), await stage.another_node()
    calls = (node.broker.publish(channel, Publication(b"1"), size=9, ttl=60, id="a") for node in (stage, other) * 3)
    equal(len(set(await asyncio.gather(*calls))), 1, "number of positions")
    equal(summary(await other.broker.history(channel)), ([b"1"], True), "history")


@broker_scenario(needs="shared")
async def removes_history_on_every_node(stage: Stage) -> None:
    """After `remove_history` at one node there is none at the other, within seconds."""
    channel, other = stage.channel(), await stage.another_node()
    await other.broker.subscribe(channel)
    first, second = await stage.publish(channel, b"1", b"2")
    await other.delivered(channel, b"1", b"2")
    await stage.broker.remove_history(channel)
    await other.until(lambda: other.broker.history(channel, since=first), ([], False), "missed one")
    equal(summary(await other.broker.history(channel, since=second)), ([], True), "missed none")
