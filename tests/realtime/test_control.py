"""Orders are facts that can be sent; and a node tells them to the others, which its broker knows."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

import msgspec
import pytest

from trunkline import connect
from trunkline.exceptions import ConnectionClosed
from trunkline.realtime import Client, MemoryBroker, Realtime, Refused
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.control import (
    Alone,
    Answer,
    Control,
    Disconnect,
    Order,
    Refresh,
    Refusal,
    Send,
    Subscribe,
    Unsubscribe,
)
from trunkline.testing import memory

URL = "ws://localhost:8765"

ORDERS: list[Order] = [
    Disconnect(user="ada", code=3503),
    Disconnect(client="c1", code=4000, reason="go"),
    Subscribe(user="ada", channel="a"),
    Unsubscribe(user="ada", client="c1", channel="a"),
    Refresh(user="ada", ttl=60),
    Refresh(user="ada"),
    Send(user="", data=b'{"a":1}'),
]


@pytest.mark.parametrize("order", ORDERS, ids=repr)
@pytest.mark.parametrize("codec", [msgspec.json, msgspec.msgpack], ids=["json", "msgpack"])
def test_orders_are_facts(order: Order, codec: Any) -> None:
    assert codec.decode(codec.encode(order), type=Order) == order


def test_answers_are_facts() -> None:
    answer = Answer(3, Refusal(106, "limit exceeded"))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Answer) == answer


def test_a_node_that_is_alone_has_nobody_to_tell() -> None:
    async def main() -> None:
        control = Alone()
        await control.start(lambda order: pytest.fail("nobody tells it anything"))
        assert await control.tell(ORDERS[0]) == {}
        await control.close()

    asyncio.run(main())


class Wire(Control):
    """Tells orders to the other nodes of this process, as bytes."""

    nodes: ClassVar[dict[str, "Wire"]] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[Order] = []
        self.carry_out: Callable[[Order], Awaitable[Answer]] | None = None

    async def start(self, carry_out: Callable[[Order], Awaitable[Answer]]) -> None:
        self.carry_out = carry_out
        self.nodes[self.name] = self

    async def close(self) -> None:
        self.carry_out = None
        self.nodes.pop(self.name, None)

    async def tell(self, order: Order, *, timeout: float = 1) -> Mapping[str, Answer]:
        if self.carry_out is None:
            raise BrokerError("it is closed")
        self.told.append(order)
        data = msgspec.msgpack.encode(order)
        return {name: await node.hear(data) for name, node in list(self.nodes.items()) if node is not self}

    async def hear(self, data: bytes) -> Answer:
        assert self.carry_out is not None
        answer = await self.carry_out(msgspec.msgpack.decode(data, type=Order))
        return msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Answer)


class Broker(MemoryBroker):
    """A broker whose nodes can be told something."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.wire = Wire(name)

    def control(self) -> Control:
        return self.wire


async def heard(websocket: Any, kind: str) -> Any:
    while True:
        for line in (await websocket.recv()).split("\n"):
            if f'"{kind}"' in line:
                return msgspec.json.decode(line)


def test_what_the_program_of_one_node_says_reaches_the_clients_of_all() -> None:
    async def scene() -> None:
        one, two = Realtime(Broker("one")), Realtime(Broker("two"))

        @two.on_connect
        def who(client: Client) -> None:
            client.user = "ada"

        for node in (one, two):
            node.channel("a")
        two.channel("only here")
        async with one, two, two.serve(port=8765):
            websocket = await connect(URL)
            await websocket.send('{"id":1,"connect":{}}')
            await heard(websocket, "connect")
            assert await one.send({"a": 1}, user="ada") == 1
            assert (await heard(websocket, "message"))["push"]["message"] == {"data": {"a": 1}}
            assert await one.send(1, user="bob") == 0
            await one.subscribe("a", user="ada")
            assert (await heard(websocket, "subscribe"))["push"]["channel"] == "a"
            await one.unsubscribe("a", user="ada")
            assert (await heard(websocket, "unsubscribe"))["push"]["unsubscribe"]["code"] == 2000
            one.channel("elsewhere")
            with pytest.raises(Refused, match="102: unknown channel"):
                await one.subscribe("elsewhere", user="ada")
            await one.disconnect(user="ada", code=4000, reason="bye")
            with pytest.raises(ConnectionClosed, match="4000"):
                await heard(websocket, "nothing")
        assert not Wire.nodes

    memory.run(scene())


def test_a_node_that_is_closed_tells_nobody_and_one_that_is_opened_again_does() -> None:
    async def scene() -> None:
        broker = Broker("one")
        rt = Realtime(broker)
        await rt.disconnect(user="ada")
        assert broker.wire.told == []
        async with rt:
            await rt.disconnect(user="ada")
        await rt.disconnect(user="ada")
        async with rt:
            await rt.disconnect(user="bob")
        assert [order.user for order in broker.wire.told] == ["ada", "bob"]

    memory.run(scene())


def test_a_control_that_cannot_be_started_leaves_nothing_open() -> None:
    class Away(Broker):
        closed = 0

        def control(self) -> Control:
            raise BrokerError("no node can be reached")

        async def close(self) -> None:
            self.closed += 1
            await super().close()

    async def scene() -> None:
        broker = Away("one")
        rt = Realtime(broker)
        with pytest.raises(BrokerError, match="no node can be reached"):
            await rt.start()
        assert broker.closed == 1

    memory.run(scene())
