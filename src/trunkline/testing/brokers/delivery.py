"""Scenarios: what is published arrives, in one order, and never ahead of the history."""

from __future__ import annotations

import asyncio

from trunkline.realtime.publication import Publication, StreamPosition
from trunkline.testing.brokers.stage import ADA, BOB, PATIENCE, Stage, ascending, broker_scenario, equal, summary


@broker_scenario()
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


@broker_scenario()
async def carries_any_bytes(stage: Stage) -> None:
    """Data may be empty, no text, and large."""
    channel = stage.channel()
    data = [b"", b"\xff\x00\r\n", bytes(range(256)) * 2048]
    await stage.broker.subscribe(channel)
    await stage.publish(channel, *data)
    await stage.delivered(channel, *data)
    equal(summary(await stage.broker.history(channel)), (data, True), "history")


@broker_scenario()
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


@broker_scenario()
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


@broker_scenario()
async def tells_of_joins_and_leaves(stage: Stage) -> None:
    """Joins and leaves reach the subscribers, in order, and leave no trace in the history."""
    here, elsewhere = stage.channel("here"), stage.channel("elsewhere")
    await stage.broker.subscribe(here)
    await stage.broker.publish_join(elsewhere, BOB)
    await stage.broker.publish_join(here, ADA)
    await stage.broker.publish_leave(here, ADA)
    await stage.events.told(here, 2)
    equal(dict(stage.events.others), {here: [("join", ADA), ("leave", ADA)]}, "joins and leaves")
    equal(summary(await stage.broker.history(here)), ([], True), "history")


@broker_scenario()
async def delivers_without_history(stage: Stage) -> None:
    """Without size or ttl a publication is delivered only; the history keeps its older ones."""
    channel = stage.channel()
    await stage.broker.subscribe(channel)
    [kept] = await stage.publish(channel, b"kept")
    for size, ttl in [(0, 60), (10, 0), (0, 0)]:
        equal(await stage.publish(channel, b"passing", size=size, ttl=ttl), [StreamPosition(0, "")], "position")
    await stage.delivered(channel, b"kept", b"passing", b"passing", b"passing")
    equal([each.offset for each in stage.events.publications[channel]], [kept.offset, 0, 0, 0], "offsets")
    history = await stage.broker.history(channel)
    equal((summary(history), history.position), (([b"kept"], True), kept), "history")


@broker_scenario()
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


@broker_scenario()
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


@broker_scenario()
async def remembers_what_it_delivered(stage: Stage) -> None:
    """A subscriber that asks for the history in the moment of a delivery finds the publication in it."""
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


@broker_scenario()
async def leaves_no_hole_between_history_and_delivery(stage: Stage) -> None:
    """A node that subscribes while others publish has each publication from the history, from delivery, or both."""
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


@broker_scenario()
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
