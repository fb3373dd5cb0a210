"""Orders of one node reach the others, over each server that we know, and their answers come back."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.support.broker_nodes import ENGINES, control_nodes, running
from tests.support.broker_server import BrokerServer
from trunkline.realtime.control import Answer, Disconnect, Send

ORDER = Disconnect(user="ada", code=3503)


@pytest.fixture(scope="module", params=ENGINES)
def server(request: pytest.FixtureRequest) -> Iterator[BrokerServer]:
    with running(request.param) as server:
        yield server


def test_others_carry_out_orders_and_answer(server: BrokerServer) -> None:
    async def main() -> None:
        async with control_nodes(server, None, None, None) as [one, two, three], asyncio.timeout(30):
            assert await one.control.tell(ORDER, timeout=3600) == {
                two.broker.node: Answer(1),
                three.broker.node: Answer(1),
            }
            assert (one.orders, two.orders, three.orders) == ([], [ORDER], [ORDER])
            assert (await three.control.tell(ORDER, timeout=3600)).keys() == {one.broker.node, two.broker.node}

    asyncio.run(main())


def test_a_node_that_is_alone_waits_for_nothing(server: BrokerServer) -> None:
    async def main() -> None:
        async with control_nodes(server, None) as [one], asyncio.timeout(30):
            assert await one.control.tell(ORDER, timeout=3600) == {}

    asyncio.run(main())


def test_orders_of_a_node_are_begun_in_their_order(server: BrokerServer) -> None:
    async def main() -> None:
        async with control_nodes(server, None, None) as [one, two]:
            orders = [Send(user="ada", data=b"%d" % number) for number in range(50)]
            for order in orders:
                await one.control.tell(order, timeout=10)
            assert two.orders == orders

    asyncio.run(main())
