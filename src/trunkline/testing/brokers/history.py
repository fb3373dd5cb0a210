"""Scenarios: what is kept, for how long and how much, and what a position says."""

from __future__ import annotations

import asyncio

from trunkline.realtime.brokers.base import ID_TTL
from trunkline.realtime.publication import Publication, StreamPosition
from trunkline.testing.brokers.stage import Stage, ascending, broker_scenario, equal, summary


@broker_scenario()
async def finds_what_came_since(stage: Stage) -> None:
    """`since` selects what is newer, and says whether that is all."""
    channel = stage.channel()
    start = await stage.position(channel)
    positions = await stage.publish(channel, b"1", b"2", b"3")
    for position, missed in zip([start, *positions], [[b"1", b"2", b"3"], [b"2", b"3"], [b"3"], []], strict=True):
        history = await stage.broker.history(channel, since=position)
        equal((summary(history), history.position), ((missed, True), positions[-1]), f"since {position}")


@broker_scenario()
async def finds_nothing_for_strangers(stage: Stage) -> None:
    """A position of another epoch, or from the future, finds nothing and isn't complete."""
    channel = stage.channel()
    [position] = await stage.publish(channel, b"1")
    for since in [position._replace(epoch="other"), position._replace(offset=position.offset + 1000), StreamPosition()]:
        for reverse in (False, True):
            history = await stage.broker.history(channel, since=since, reverse=reverse)
            equal((summary(history), history.position), (([], False), position), f"since {since}, reverse={reverse}")


@broker_scenario()
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


@broker_scenario()
async def reverses_from_beyond_the_newest(stage: Stage) -> None:
    """In reverse, everything stands before the next publication, and nothing before the first."""
    channel = stage.channel()
    positions = await stage.publish(channel, b"1", b"2", b"3")
    beyond = positions[-1]._replace(offset=positions[-1].offset + 1)
    before = positions[0]._replace(offset=0)
    for since, limit, wanted in [(beyond, None, [b"3", b"2", b"1"]), (beyond, 2, [b"3", b"2"]), (before, None, [])]:
        history = await stage.broker.history(channel, since=since, limit=limit, reverse=True)
        equal((summary(history), history.position), ((wanted, True), positions[-1]), f"since={since} limit={limit}")


@broker_scenario()
async def keeps_the_newest(stage: Stage) -> None:
    """No more than `size` stay, the size of the newest publication; a client that missed others learns it."""
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


@broker_scenario()
async def forgets_with_time(stage: Stage) -> None:
    """Publications older than the ttl are gone; positions stay."""
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


@broker_scenario()
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


@broker_scenario()
async def never_uses_an_offset_twice(stage: Stage) -> None:
    """However long a channel rests: a client that knows a position recovers the rest, or learns that it can't."""
    channel = stage.channel()
    positions = [await stage.position(channel), *await stage.publish(channel, b"1", b"2", ttl=10)]
    await stage.clock.advance(366 * 86400)
    for number in range(10):  # a broker that tidies up as it goes has time to
        await stage.publish(stage.channel(f"other {number}"), b"x")
    await stage.publish(channel, b"3", b"4", b"5", ttl=10)
    for seen, position in enumerate(positions):
        data, complete = summary(await stage.broker.history(channel, since=position))
        if complete:
            equal((seen, data), (2, [b"3", b"4", b"5"]), f"recovered since {position}")


@broker_scenario()
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


@broker_scenario()
async def knows_ids_at_once(stage: Stage) -> None:
    """The same id many times at the same moment: one publication, one position."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    calls = (stage.broker.publish(channel, Publication(b"1"), size=9, ttl=60, id="a") for _ in range(9))
    positions = set(await asyncio.gather(*calls))
    equal(len(positions), 1, "number of positions")
    await stage.publish(channel, b"2")
    await stage.delivered(channel, b"1", b"2")


@broker_scenario()
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
