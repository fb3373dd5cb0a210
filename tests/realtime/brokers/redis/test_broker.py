"""The broker on Redis does what every broker must, on each server that we know, and heals itself."""

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import BrokerNode, node_at
from tests.support.redis import PROGRAMS, RedisServer, needs_redis, running
from trunkline.realtime.brokers import BrokerError, RedisBroker, Uncertain
from trunkline.realtime.publication import StreamPosition
from trunkline.testing.brokers import Scenario, broker_scenarios, check_broker


@pytest.fixture(scope="module", params=PROGRAMS)
def shared_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with running(request.param) as server:
        yield server


@pytest.mark.parametrize("scenario", broker_scenarios(durable=True, shared=True), ids=str)
def test_conforms(scenario: Scenario, shared_server: RedisServer) -> None:
    check_broker(scenario, lambda clock: RedisBroker(shared_server.url, clock=clock))


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def careful_server() -> Iterator[RedisServer]:
    """One that has everything on its disk before it answers."""
    with running("redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


# Trouble on the way


@needs_redis
def test_what_was_missed_while_the_connection_was_lost_is_delivered(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", "quiet") as node, node_at(server) as other:
            await other.publish("quiet", b"only")
            numbers = [b"%d" % number for number in range(60)]
            for count, number in enumerate(numbers):
                if count % 20 == 5:
                    server.cli("CLIENT", "KILL", "TYPE", "pubsub")
                await other.publish("room", number)
            await node.until_delivered("room", *numbers)
            await node.until_delivered("quiet", b"only")
            assert node.events.gaps == []

    asyncio.run(main())


@needs_redis
def test_what_cannot_be_read_any_more_is_told(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node, node_at(server) as other:
            await other.publish("room", b"1")
            await node.until_delivered("room", b"1")
            held = hold(node)
            await other.publish("room", b"2", b"3", b"4", size=2)
            server.cli("CLIENT", "KILL", "TYPE", "pubsub")
            held()
            await node.until_delivered("room", b"1", b"3", b"4")
            assert node.events.gaps == ["room"]

    asyncio.run(main())


def hold(node: BrokerNode):
    """Messages don't arrive until what is returned is called, as if they were lost on the way."""
    connection = node.broker._delivery.link.connection
    connection._transport.pause_reading()
    return lambda: connection.abort("cut")


@needs_redis
def test_a_channel_in_which_nothing_was_ever_kept_has_no_gap(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", "busy") as node, node_at(server) as other:
            # "busy" has a past that this node knows nothing of, but it may have missed some of it.
            held = hold(node)
            await other.publish("busy", b"1")
            await other.publish("room", b"1", size=0)
            held()
            await node.events.until(lambda: node.events.gaps == ["busy"], "the gap")
            await other.publish("room", b"2", size=0)
            await other.publish("room", b"3")
            await other.publish("busy", b"2")
            await node.until_delivered("room", b"2", b"3")
            await node.until_delivered("busy", b"2")
            assert node.events.gaps == ["busy"]

    asyncio.run(main())


@needs_redis
def test_publications_that_a_caller_knows_of_are_in_the_history_it_asks_for(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", heartbeat=0.1) as node:
            start = (await node.broker.history("room", limit=0)).position
            await node.publish("room", b"1")
            await node.until_delivered("room", b"1")
            hold(node)
            position = await node.publish("room", b"2")
            history = await node.broker.history("room", since=start)
            assert ([each.data for each in history.publications], history.position) == ([b"1", b"2"], position)

    asyncio.run(main())


# Trouble with the data


async def lives_on(
    node: BrokerNode, other: BrokerNode, position: StreamPosition, expected: list[bytes], gaps: list[str]
) -> None:
    await other.publish("room", b"after", id="after")
    await node.until_delivered("room", *expected, b"after")
    assert node.events.gaps == gaps
    history = await node.broker.history("room", since=position)
    assert history.complete == (not gaps)
    assert [each.data for each in history.publications] == ([] if gaps else [b"after"])


@needs_redis
@pytest.mark.parametrize(
    "harm", [("FLUSHALL",), ("DEL", "tl:{room}:m"), ("DEL", "tl:{room}:m", "tl:{room}:s")], ids=str
)
def test_data_that_is_lost_is_told_before_offsets_start_anew(server: RedisServer, harm: tuple[str, ...]) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node, node_at(server) as other:
            position = await other.publish("room", b"1", b"2", b"3")
            await node.until_delivered("room", b"1", b"2", b"3")
            order: list[str] = []
            node.events.on_gap = lambda channel: (order.append("gap"), node.events.gaps.append(channel))
            node.events.watch = lambda channel, publication: order.append(publication.data.decode())
            server.cli(*harm)
            await lives_on(node, other, position, [b"1", b"2", b"3"], ["room"])
            assert order == ["gap", "after"]

    asyncio.run(main())


@needs_redis
def test_an_evicted_stream_is_not_passed_off_as_complete(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server) as node:
            first = await node.publish("room", b"1")
            last = await node.publish("room", b"2")
            server.cli("DEL", "tl:{room}:s")
            assert (await node.broker.history("room", since=first)).complete is False
            assert (await node.broker.history("room", since=last)).complete is True

    asyncio.run(main())


@needs_redis
@pytest.mark.parametrize("saved", [False, True], ids=["nothing", "an older copy"])
def test_a_server_that_was_killed_starts_anew(server: RedisServer, saved: bool) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node, node_at(server) as other:
            await other.publish("room", b"1")
            if saved:
                server.cli("SAVE")
            position = await other.publish("room", b"2", b"3")
            await node.until_delivered("room", b"1", b"2", b"3")
            server.kill()
            server.start()
            await node.events.until(lambda: bool(node.events.gaps), "the gap")
            await lives_on(node, other, position, [b"1", b"2", b"3"], ["room"])
            assert position.epoch != (await node.broker.history("room", limit=0)).position.epoch

    asyncio.run(main())


@needs_redis
def test_a_careful_server_that_was_killed_goes_on(careful_server: RedisServer) -> None:
    async def main() -> None:
        async with (
            node_at(careful_server, "room", durable=True) as node,
            node_at(careful_server, durable=True) as other,
        ):
            position = await other.publish("room", b"1", b"2", b"3")
            await node.until_delivered("room", b"1", b"2", b"3")
            careful_server.kill()
            careful_server.start()
            await lives_on(node, other, position, [b"1", b"2", b"3"], [])

    asyncio.run(main())


@needs_redis
def test_a_position_beyond_the_data_is_told_also_if_the_server_was_believed_to_be_careful(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", durable=True) as node, node_at(server, durable=True) as other:
            await other.publish("room", b"1")
            server.cli("SAVE")
            await other.publish("room", b"2", b"3")
            await node.until_delivered("room", b"1", b"2", b"3")
            server.kill()
            server.start()
            await node.events.until(lambda: node.events.gaps == ["room"], "the gap")

    asyncio.run(main())


# When Redis is away

SHORT = {"patience": 0.5, "heartbeat": 0.1}


@needs_redis
def test_while_it_is_away_calls_fail_and_afterwards_everything_goes_on(careful_server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(careful_server, "room", durable=True, **SHORT) as node:
            await node.publish("room", b"1")
            await node.until_delivered("room", b"1")
            careful_server.stop()
            for call in (
                lambda: node.publish("room", b"2"),
                lambda: node.publish("room", b"2", size=0),
                lambda: node.broker.subscribe("other"),
                lambda: node.broker.history("other"),
                lambda: node.broker.remove_history("room"),
            ):
                with pytest.raises(BrokerError, match=r"Redis at redis://127.0.0.1:\d+"):
                    await call()
            careful_server.start()
            await node.broker._commands.link.ready(10)
            await node.broker._delivery.link.ready(10)
            await node.broker.subscribe("other")
            await node.publish("other", b"x")
            await node.until_delivered("other", b"x")
            await node.publish("room", b"3")
            await node.until_delivered("room", b"1", b"3")
            assert node.events.gaps == []

    asyncio.run(main())


@needs_redis
def test_a_publication_without_answer_is_uncertain_unless_it_has_an_id(careful_server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(careful_server, "room", durable=True) as node:
            await node.publish("room", b"first")
            await node.until_delivered("room", b"first")
            careful_server.freeze()
            calls = [
                asyncio.create_task(node.publish("room", b"uncertain")),
                asyncio.create_task(node.publish("room", b"passing", size=0)),
                asyncio.create_task(node.publish("room", b"certain", id="a")),
            ]
            await asyncio.sleep(0.05)
            careful_server.kill()
            careful_server.start()
            uncertain, passing, position = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(uncertain, Uncertain)
            assert isinstance(passing, Uncertain)
            again = await node.publish("room", b"certain", id="a")
            assert again == position
            await node.events.until(lambda: b"certain" in node.delivered("room"), "the certain one")
            assert node.delivered("room").count(b"certain") == 1

    asyncio.run(main())


@needs_redis
def test_a_server_that_says_nothing_is_given_up(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", **SHORT) as node, node_at(server) as other:
            await other.publish("room", b"1")
            await node.until_delivered("room", b"1")
            server.freeze()
            connection = node.broker._commands.link.connection
            with pytest.raises(Uncertain, match="silent"):
                await node.publish("room", b"2")
            assert connection.lost.done()
            server.thaw()
            await node.broker._delivery.link.ready(10)
            await other.publish("room", b"3")
            await node.events.until(lambda: b"3" in node.delivered("room"), "the third")
            assert node.events.gaps == []

    asyncio.run(main())


# Other programs


@needs_redis
def test_scripts_that_were_flushed_are_loaded_again(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node:
            server.cli("SCRIPT", "FLUSH")
            await asyncio.gather(*(node.publish("room", b"%d" % number) for number in range(9)))
            assert len(await node.events.received("room", 9)) == 9

    asyncio.run(main())


@needs_redis
def test_messages_of_others_are_left_out(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node:
            for junk in ("", ":", ":x", "1", "1:2:e", "a:2:e:\x90", "1:2:e:\x91", ":\x91\x09", "1:2:\x80:\x91"):
                server.cli("PUBLISH", "tl/0:c:room", junk)
            await node.publish("room", b"1")
            await node.until_delivered("room", b"1")

    asyncio.run(main())


@needs_redis
def test_keys_of_others_are_an_error(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node:
            server.cli("SET", "tl:{room}:m", "x")
            with pytest.raises(BrokerError, match="another program uses the same keys"):
                await node.publish("room", b"1")

    asyncio.run(main())


@needs_redis
def test_databases_and_prefixes_are_apart(server: RedisServer) -> None:
    async def main() -> None:
        urls = [server.url, f"{server.url}/1", f"{server.url}?prefix=other"]
        nodes = [BrokerNode(url) for url in urls]
        for node in nodes:
            await node.broker.start(node.events)
            await node.broker.subscribe("room")
        for number, node in enumerate(nodes):
            await node.publish("room", b"%d" % number)
            await node.publish("room", b"%d" % number, size=0)
        for number, node in enumerate(nodes):
            await node.until_delivered("room", b"%d" % number, b"%d" % number)
            await node.broker.close()

    asyncio.run(main())


@needs_redis
def test_a_full_server_refuses(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node:
            await node.publish("room", b"1")
            server.cli("CONFIG", "SET", "maxmemory", "1")
            with pytest.raises(BrokerError, match="give it more memory"):
                await node.publish("room", b"2")
            server.cli("CONFIG", "SET", "maxmemory", "0")
            await node.publish("room", b"3")
            await node.until_delivered("room", b"1", b"3")

    asyncio.run(main())


# Cost


def calls_of_scripts(server: RedisServer) -> int:
    history = re.search(rb"cmdstat_evalsha:calls=(\d+)", server.cli("INFO", "commandstats"))
    return int(history[1]) if history else 0


@needs_redis
def test_clients_that_come_back_together_read_each_channel_once(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server) as other:
            start = (await other.broker.history("room", limit=0)).position
            await other.publish("room", *[b"%d" % number for number in range(20)])
            async with node_at(server, "room") as node:
                before = calls_of_scripts(server)
                history = await asyncio.gather(*(node.broker.history("room", since=start) for _ in range(100)))
                assert {(len(each.publications), each.complete) for each in history} == {(20, True)}
                await node.broker.history("room", limit=0)
                assert calls_of_scripts(server) - before == 1

    asyncio.run(main())


@needs_redis
def test_a_channel_leaves_nothing_behind(server: RedisServer) -> None:
    async def main() -> None:
        async with node_at(server, idle=1) as node:
            await node.publish("room", b"1", ttl=0.4, id="a")
            await node.broker.history("looked at")
            ttls = {key: server.cli("PTTL", key) for key in ("tl:{room}:m", "tl:{room}:s", "tl:{looked at}:m")}
            for key, answer in ttls.items():
                assert 0 < int(answer[1:]) <= 2000, key

    asyncio.run(main())
