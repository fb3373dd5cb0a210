"""The broker on NATS does what every broker must, and heals itself."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker_nodes import BrokerNode, node_at
from tests.support.nats import NatsServer, needs_nats, running
from trunkline.realtime.brokers import BrokerError, NatsBroker, Uncertain
from trunkline.realtime.brokers.nats.jetstream import api
from trunkline.testing.brokers import Clock, Scenario, broker_scenarios, check_broker

pytestmark = needs_nats


class Compressed(Clock):
    """Time flies: ids are known for a second, instead of five minutes."""

    async def advance(self, seconds: float) -> None:
        await super().advance(seconds)
        if seconds > 300:
            await asyncio.sleep(1.5)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


@pytest.mark.parametrize("scenario", broker_scenarios(durable=True, shared=True), ids=str)
def test_conforms(scenario: Scenario, shared_server: NatsServer) -> None:
    check_broker(
        scenario, lambda clock: NatsBroker(shared_server.url + "/?prefix=s", clock=clock, id_ttl=1), clock=Compressed()
    )


@pytest.fixture
def server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


def cut(node: BrokerNode) -> None:
    """Messages don't arrive, and then the connection is lost."""
    node.broker._link.connection.abort("cut")


def test_what_was_missed_while_the_connection_was_lost_is_delivered(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", "quiet") as node, node_at(server) as other:
            await other.publish("quiet", b"only")
            numbers = [b"%d" % number for number in range(60)]
            for count, number in enumerate(numbers):
                if count % 20 == 5:
                    cut(node)
                await other.publish("room", number)
                if count % 20 == 10:
                    await node.broker._link.ready(10)
            await node.until_delivered("room", *numbers)
            await node.until_delivered("quiet", b"only")
            assert node.events.gaps == []

    asyncio.run(main())


def test_what_cannot_be_read_any_more_is_told(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node, node_at(server) as other:
            await other.publish("room", b"1")
            await node.until_delivered("room", b"1")
            node.broker._link.connection.transport.pause_reading()
            await other.publish("room", b"2", b"3", b"4", size=2)
            cut(node)
            await node.until_delivered("room", b"1", b"3", b"4")
            assert node.events.gaps == ["room"]

    asyncio.run(main())


def test_a_server_that_keeps_its_files_goes_on_where_it_was(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node:
            position = await node.publish("room", b"1", b"2")
            server.kill()
            waiting = asyncio.create_task(node.publish("room", b"3", id="three"))
            server.start()
            after = await waiting
            assert after.epoch == position.epoch
            await node.until_delivered("room", b"1", b"2", b"3")
            assert [each.data for each in (await node.broker.history("room", since=position)).publications] == [b"3"]
            assert node.events.gaps == []

    asyncio.run(main())


@pytest.mark.parametrize("storage", ["file", "memory"])
def test_a_server_that_lost_its_data_starts_anew(server: NatsServer, storage: str) -> None:
    async def main() -> None:
        async with node_at(server, "room", query=f"/?storage={storage}") as node:
            position = await node.publish("room", b"1", b"2")
            await node.until_delivered("room", b"1", b"2")
            server.kill()
            server.lose_data()
            server.start()
            after = await node.publish("room", b"3", id="three")
            assert after.epoch != position.epoch
            await node.events.until(lambda: node.events.gaps == ["room"], "the gap")
            await node.until_delivered("room", b"1", b"2", b"3")
            assert not (await node.broker.history("room", since=position)).complete

    asyncio.run(main())


def test_an_older_disk_is_told(server: NatsServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node:
            await node.publish("room", b"1")
            server.kill()
            shutil.copytree(server.directory / "data", tmp_path / "older")
            server.start()
            position = await node.publish("room", b"2", id="a")
            await node.until_delivered("room", b"1", b"2")
            server.kill()
            server.lose_data()
            shutil.copytree(tmp_path / "older", server.directory / "data")
            server.start()
            await node.events.until(lambda: node.events.gaps == ["room"], "the gap")
            after = await node.publish("room", b"4")
            assert after.epoch != position.epoch

    asyncio.run(main())


def test_a_stream_that_is_deleted_is_made_again(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node, node_at(server, "room") as other:
            position = await node.publish("room", b"1", b"2", b"3")
            for each in (node, other):
                await each.until_delivered("room", b"1", b"2", b"3")
            await api(node.broker._link.connection, "STREAM.DELETE.TL_tl")
            after = await node.publish("room", b"4")
            assert after.epoch != position.epoch
            for each in (node, other):
                await each.events.until(lambda each=each: each.events.gaps == ["room"], "the gap")
                await each.until_delivered("room", b"1", b"2", b"3", b"4")

    asyncio.run(main())


def test_a_position_of_another_node_in_a_quiet_channel_is_good(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "quiet") as node, node_at(server) as other:
            old = (await node.broker.history("quiet", limit=0)).position
            await other.publish("busy", b"1", b"2")
            new = (await other.broker.history("quiet", limit=0)).position
            assert new.offset > old.offset
            for since in (new, old, new):
                history = await node.broker.history("quiet", since=since)
                assert (history.publications, history.complete) == ([], True)
            beyond = await node.broker.history("quiet", since=new._replace(offset=new.offset + 9))
            assert not beyond.complete

    asyncio.run(main())


def test_publications_that_grew_too_old_for_the_stream_are_not_passed_off(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, query="/?retain=1s") as node:
            start = (await node.broker.history("room", limit=0)).position
            await node.publish("room", b"1")
            assert (await node.broker.history("room", since=start)).complete
            async with asyncio.timeout(20):
                while (await node.broker.history("room")).publications:
                    await asyncio.sleep(0.1)
            assert not (await node.broker.history("room", since=start)).complete

    asyncio.run(main())


def test_more_than_the_server_takes_is_refused_and_harms_nothing(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "room") as node:
            for size in (0, 10):
                with pytest.raises(BrokerError, match="takes 1048576 bytes at a time"):
                    await node.publish("room", b"x" * (1 << 20), size=size)
            await node.publish("room", b"1")
            await node.until_delivered("room", b"1")

    asyncio.run(main())


def test_while_the_server_is_away_calls_raise(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", patience=0.3) as node:
            server.kill()
            await node.broker._link.connection.lost if node.broker._link.connection else None
            for call in (
                lambda: node.publish("room", b"1"),
                lambda: node.publish("room", b"1", size=0),
                lambda: node.broker.subscribe("other"),
                lambda: node.broker.history("other"),
            ):
                with pytest.raises(BrokerError, match="can't be reached"):
                    await call()
            server.start()
            await node.broker._link.ready(10)
            await node.publish("room", b"2")
            await node.until_delivered("room", b"2")

    asyncio.run(main())


def test_a_frozen_server_leaves_a_publication_uncertain(server: NatsServer) -> None:
    async def main() -> None:
        async with node_at(server, "room", heartbeat=0.1) as node:
            server.freeze()
            with pytest.raises(Uncertain, match="publish with an id"):
                await node.publish("room", b"1")
            repeated = asyncio.create_task(node.publish("room", b"2", id="a"))
            server.thaw()
            await repeated
            await node.events.until(lambda: node.events.publications["room"][-1:] != [], "the publication")

    asyncio.run(main())
