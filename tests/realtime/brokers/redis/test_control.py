"""Orders of one node reach the others through Redis, and their answers come back."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import pytest

from tests.support.redis import RedisServer, needs_redis, running
from trunkline.realtime.brokers import BrokerError, RedisBroker
from trunkline.realtime.brokers.redis import RedisControl
from trunkline.realtime.control import Answer, Disconnect, Order, Refusal, Send
from trunkline.testing.brokers import Events

pytestmark = needs_redis

CarryOut = Callable[[Order], Awaitable[Answer]]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


class Node:
    """A node that counts the orders that it carries out."""

    def __init__(self, url: str) -> None:
        self.broker = RedisBroker(url, heartbeat=0.2, patience=1)
        self.orders: list[Order] = []
        self.control: RedisControl

    async def start(self, carry_out: CarryOut | None = None) -> None:
        await self.broker.start(Events())
        self.control = self.broker.control()
        await self.control.start(carry_out or self.carry_out)

    async def close(self) -> None:
        await self.control.close()
        await self.broker.close()

    async def carry_out(self, order: Order) -> Answer:
        self.orders.append(order)
        return Answer(len(self.orders))


@asynccontextmanager
async def nodes(server: RedisServer, *carry_out: CarryOut | None) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        started = []
        for each in carry_out:
            node = Node(server.url)
            await node.start(each)
            stack.push_async_callback(node.close)
            started.append(node)
        yield started


ORDER = Disconnect(user="ada", code=3503)


def test_others_carry_out_orders_and_answer(server: RedisServer) -> None:
    async def main() -> None:
        async with nodes(server, None, None, None) as [one, two, three]:
            assert await one.control.tell(ORDER, timeout=10) == {
                two.broker.node: Answer(1),
                three.broker.node: Answer(1),
            }
            assert (one.orders, two.orders, three.orders) == ([], [ORDER], [ORDER])
            assert (await three.control.tell(ORDER, timeout=10)).keys() == {one.broker.node, two.broker.node}

    asyncio.run(main())


def test_a_node_that_is_alone_waits_for_nothing(server: RedisServer) -> None:
    async def main() -> None:
        async with nodes(server, None) as [one], asyncio.timeout(30):
            assert await one.control.tell(ORDER, timeout=3600) == {}

    asyncio.run(main())


def test_orders_of_a_node_are_begun_in_their_order(server: RedisServer) -> None:
    async def main() -> None:
        async with nodes(server, None, None) as [one, two]:
            orders = [Send(user="ada", data=b"%d" % number) for number in range(50)]
            for order in orders:
                await one.control.tell(order, timeout=10)
            assert two.orders == orders

    asyncio.run(main())


def test_refusals_come_back(server: RedisServer) -> None:
    async def refuse(order: Order) -> Answer:
        return Answer(0, Refusal(102, "unknown channel"))

    async def main() -> None:
        async with nodes(server, None, refuse) as [one, _]:
            [answer] = (await one.control.tell(ORDER, timeout=10)).values()
            assert answer == Answer(0, Refusal(102, "unknown channel"))

    asyncio.run(main())


def test_the_answer_of_a_node_that_fails_is_missing_at_once(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(order: Order) -> Answer:
        raise ZeroDivisionError

    async def main() -> None:
        async with nodes(server, None, fail, None) as [one, _, three], asyncio.timeout(30):
            assert (await one.control.tell(ORDER, timeout=3600)).keys() == {three.broker.node}

    asyncio.run(main())
    assert "couldn't be carried out" in caplog.text


def test_the_answer_of_a_node_that_is_too_slow_is_missing(server: RedisServer) -> None:
    async def hang(order: Order) -> Answer:
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def main() -> None:
        async with nodes(server, None, hang, None) as [one, _, three]:
            assert three.broker.node in await one.control.tell(ORDER, timeout=0.5)
            assert one.control._asked == {}

    asyncio.run(main())


class Dance(msgspec.Struct, frozen=True, tag=True):
    """An order of a newer version."""

    steps: int


def test_orders_that_a_node_does_not_know_are_left_out(server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with nodes(server, None, None) as [one, two], asyncio.timeout(30):
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
        async with nodes(server, None, None) as [one, two]:
            await two.control.close()
            assert await one.control.tell(ORDER, timeout=0.05) == {}
            assert two.orders == []
            with pytest.raises(BrokerError, match="closed already"):
                await two.control.tell(ORDER)

    asyncio.run(main())


def test_an_order_that_cannot_be_sent_is_an_error() -> None:
    async def main(server: RedisServer) -> None:
        async with nodes(server, None, None) as [one, _]:
            server.stop()
            with pytest.raises(BrokerError, match="Redis at"):
                await one.control.tell(ORDER)

    with running() as server:
        asyncio.run(main(server))
