"""Scenarios: the end of a broker, and, for those that outlive it, what comes after."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.publication import Publication
from trunkline.testing.brokers.stage import ADA, Stage, ascending, broker_scenario, equal, summary


@broker_scenario()
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


@broker_scenario()
async def finishes_before_it_closes(stage: Stage) -> None:
    """Publications accepted before `close` are delivered; one on its way is, or raises BrokerError."""
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


@broker_scenario(needs="durable")
async def remembers_over_a_restart(stage: Stage) -> None:
    """Publications, offsets and epoch survive; a client that knows an older position recovers."""
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


@broker_scenario(needs="durable")
async def forgets_over_a_restart(stage: Stage) -> None:
    """Limits hold while no node runs: expired publications are gone, and removed ones stay removed."""
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


@broker_scenario(needs="durable")
async def knows_ids_over_a_restart(stage: Stage) -> None:
    """A caller that repeats a publication after a restart, in doubt whether it was accepted, does no harm."""
    channel = stage.channel()
    first = await stage.broker.publish(channel, Publication(b"1"), size=9, ttl=60, id="a")
    await stage.reopen()
    again = await stage.broker.publish(channel, Publication(b"1"), size=9, ttl=60, id="a")
    equal(again, first, "position of the repeated id")
    equal(summary(await stage.broker.history(channel)), ([b"1"], True), "history")
