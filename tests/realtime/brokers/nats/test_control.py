"""Orders of one node to the others, through NATS."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.support.broker_nodes import control_nodes
from tests.support.nats import NatsServer, needs_nats, running
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.control import Answer, Disconnect, Order

pytestmark = needs_nats

CarryOut = Callable[[Order], Awaitable[Answer]]
ORDER = Disconnect(user="ada", code=3503)


@pytest.fixture(scope="module")
def server() -> Iterator[NatsServer]:
    with running() as server:
        yield server


def test_nonsense_is_logged_and_harms_nothing(server: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with control_nodes(server, None, None) as [one, two]:
            for subject in (b"tl.n", b"tl.b", b"tl.n.%b" % two.broker.node.encode()):
                await one.broker._tell_subject(subject, b"\xff")
            assert await one.control.tell(ORDER, timeout=1) == {two.broker.node: Answer(1)}

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert caplog.text.count("isn't ours") == 3  # an order that both hear, and an answer


def test_nodes_that_close_are_not_waited_for(server: NatsServer) -> None:
    async def main() -> None:
        async with control_nodes(server, None, None) as [one, two], asyncio.timeout(30):
            await two.control.close()
            await one.broker._barrier()
            assert await one.control.tell(ORDER, timeout=3600) == {}
            assert two.orders == []
            with pytest.raises(BrokerError, match="closed already"):
                await two.control.tell(ORDER)

    asyncio.run(main())


def test_an_order_that_cannot_be_sent_is_an_error() -> None:
    async def main(server: NatsServer) -> None:
        async with control_nodes(server, None, None) as [one, _]:
            server.kill()
            await one.broker._link.connection.lost
            with pytest.raises(BrokerError, match="NATS at"):
                await one.control.tell(ORDER)

    with running() as server:
        asyncio.run(main(server))
