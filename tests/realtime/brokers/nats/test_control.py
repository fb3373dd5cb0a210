"""Orders of one node to the others, through NATS."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.support.nats import NatsServer, needs_nats, running
from trunkline.realtime.brokers import BrokerError, NatsBroker
from trunkline.realtime.brokers.nats import NatsControl
from trunkline.realtime.control import Answer, Disconnect, Order, Send
from trunkline.testing.brokers import Events

pytestmark = needs_nats

CarryOut = Callable[[Order], Awaitable[Answer]]
ORDER = Disconnect(user="ada", code=3503)


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


class Node:
    """A node that counts the orders that it carries out."""

    def __init__(self, url: str) -> None:
        self.broker = NatsBroker(url, heartbeat=0.2, patience=1)
        self.orders: list[Order] = []
        self.control: NatsControl

    async def start(self, carry_out: CarryOut | None) -> None:
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
async def nodes(server: NatsServer, *carry_out: CarryOut | None) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        started = []
        for each in carry_out:
            node = Node(server.url)
            await node.start(each)
            stack.push_async_callback(node.close)
            started.append(node)
        yield started


def test_others_carry_out_orders_and_answer(server: NatsServer) -> None:
    async def main() -> None:
        async with nodes(server, None, None, None) as [one, two, three], asyncio.timeout(30):
            assert await one.control.tell(ORDER, timeout=3600) == {
                two.broker.node: Answer(1),
                three.broker.node: Answer(1),
            }
            assert (one.orders, two.orders, three.orders) == ([], [ORDER], [ORDER])
            assert (await three.control.tell(ORDER, timeout=3600)).keys() == {one.broker.node, two.broker.node}

    asyncio.run(main())


def test_a_node_that_is_alone_waits_for_nothing(server: NatsServer) -> None:
    async def main() -> None:
        async with nodes(server, None) as [one], asyncio.timeout(30):
            assert await one.control.tell(ORDER, timeout=3600) == {}

    asyncio.run(main())


def test_orders_of_a_node_are_begun_in_their_order(server: NatsServer) -> None:
    async def main() -> None:
        async with nodes(server, None, None) as [one, two]:
            orders = [Send(user="ada", data=b"%d" % number) for number in range(50)]
            for order in orders:
                await one.control.tell(order, timeout=10)
            assert two.orders == orders

    asyncio.run(main())


def test_nonsense_is_logged_and_harms_nothing(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with nodes(server, None, None) as [one, two]:
            for subject in (b"tl.n", b"tl.b", b"tl.n.%b" % two.broker.node.encode()):
                await one.broker._tell_subject(subject, b"\xff")
            assert await one.control.tell(ORDER, timeout=1) == {two.broker.node: Answer(1)}

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert caplog.text.count("isn't ours") == 3  # an order that both hear, and an answer


def test_nodes_that_close_are_not_waited_for(server: NatsServer) -> None:
    async def main() -> None:
        async with nodes(server, None, None) as [one, two], asyncio.timeout(30):
            await two.control.close()
            await one.broker._barrier()
            assert await one.control.tell(ORDER, timeout=3600) == {}
            assert two.orders == []
            with pytest.raises(BrokerError, match="closed already"):
                await two.control.tell(ORDER)

    asyncio.run(main())


def test_an_order_that_cannot_be_sent_is_an_error() -> None:
    async def main(server: NatsServer) -> None:
        async with nodes(server, None, None) as [one, _]:
            server.kill()
            await one.broker._link.connection.lost
            with pytest.raises(BrokerError, match="NATS at"):
                await one.control.tell(ORDER)

    with running() as server:
        asyncio.run(main(server))
