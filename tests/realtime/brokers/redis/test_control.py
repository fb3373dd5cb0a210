"""Orders of one node reach the others through Redis, and their answers come back."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import pytest

from tests.support.broker_nodes import control_nodes
from tests.support.redis import RedisServer, needs_redis, running
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.control import Answer, Disconnect, Order, Refusal

pytestmark = needs_redis

CarryOut = Callable[[Order], Awaitable[Answer]]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


ORDER = Disconnect(user="ada", code=3503)


def test_refusals_come_back(server: RedisServer) -> None:
    async def refuse(order: Order) -> Answer:
        return Answer(0, Refusal(102, "unknown channel"))

    async def main() -> None:
        async with control_nodes(server, None, refuse) as [one, _]:
            [answer] = (await one.control.tell(ORDER, timeout=10)).values()
            assert answer == Answer(0, Refusal(102, "unknown channel"))

    asyncio.run(main())


def test_the_answer_of_a_node_that_fails_is_missing_at_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(order: Order) -> Answer:
        raise ZeroDivisionError

    async def main() -> None:
        async with control_nodes(server, None, fail, None) as [one, _, three], asyncio.timeout(30):
            assert (await one.control.tell(ORDER, timeout=3600)).keys() == {three.broker.node}

    asyncio.run(main())
    assert "couldn't be carried out" in caplog.text


def test_the_answer_of_a_node_that_is_too_slow_is_missing(server: RedisServer) -> None:
    async def hang(order: Order) -> Answer:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def main() -> None:
        async with control_nodes(server, None, hang, None) as [one, _, three]:
            assert three.broker.node in await one.control.tell(ORDER, timeout=0.5)
            assert one.control._asked == {}

    asyncio.run(main())


class Dance(msgspec.Struct, frozen=True, tag=True):
    """An order of a newer version."""

    steps: int


def test_orders_that_a_node_does_not_know_are_left_out(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with control_nodes(server, None, None) as [one, two], asyncio.timeout(30):
            assert await one.control.tell(Dance(3), timeout=3600) == {}
            server.cli("PUBLISH", "tl/0:n", "junk")
            server.cli("PUBLISH", f"tl/0:n:{one.broker.node}", "junk")
            assert await one.control.tell(ORDER, timeout=10) == {two.broker.node: Answer(1)}
            assert two.orders == [ORDER]

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "this version doesn't know" in caplog.text
    assert caplog.text.count("isn't ours") == 3  # an order that both hear, and an answer


def test_closed_nodes_tell_and_hear_nothing(server: RedisServer) -> None:
    async def main() -> None:
        async with control_nodes(server, None, None) as [one, two]:
            await two.control.close()
            assert await one.control.tell(ORDER, timeout=0.05) == {}
            assert two.orders == []
            with pytest.raises(BrokerError, match="closed already"):
                await two.control.tell(ORDER)

    asyncio.run(main())


def test_an_order_that_cannot_be_sent_is_an_error() -> None:
    async def main(server: RedisServer) -> None:
        async with control_nodes(server, None, None) as [one, _]:
            server.stop()
            with pytest.raises(BrokerError, match="Redis at"):
                await one.control.tell(ORDER)

    with running() as server:
        asyncio.run(main(server))
