"""The broker delivers the events of a channel as long as a client is in its room, whatever happens at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.rooms import Node
from trunkline.realtime import MemoryBroker
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.hub.subscription import Subscription


class Broker(MemoryBroker):
    """Takes its turns, and remembers the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.error: Exception | None = None

    async def subscribe(self, channel: str) -> None:
        self.calls.append("subscribe")
        await self._work()
        await super().subscribe(channel)

    async def unsubscribe(self, channel: str) -> None:
        self.calls.append("unsubscribe")
        await self._work()
        await super().unsubscribe(channel)

    async def _work(self) -> None:
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


def play(scene: Callable[[Node, Broker], Awaitable[None]]) -> None:
    async def main() -> None:
        broker = Broker()
        async with Node(broker=broker) as node:
            node.channel("a")
            await scene(node, broker)
            assert not node.listening._turns

    asyncio.run(main())


def enter(node: Node) -> tuple[object, Callable[[], object]]:
    client = node.talker().client
    subscription = client.subscriptions["a"] = Subscription("a", *node.channels.get("a"))
    return node.hub.enter(client, subscription), lambda: node.hub.leave(client, "a")


def test_many_that_enter_at_once_need_one_call() -> None:
    async def scene(node: Node, broker: Broker) -> None:
        rooms = [enter(node)[0] for _ in range(5)]
        await asyncio.gather(*(node.listening.begin(room) for room in rooms))  # type: ignore[arg-type]
        assert broker.calls == ["subscribe"]

    play(scene)


def test_a_client_that_enters_while_the_last_one_leaves_is_heard() -> None:
    async def scene(node: Node, broker: Broker) -> None:
        room, leave = enter(node)
        await node.listening.begin(room)  # type: ignore[arg-type]
        leave()
        ending = asyncio.create_task(node.listening.end("a"))
        await asyncio.sleep(0)
        room, _ = enter(node)
        await node.listening.begin(room)  # type: ignore[arg-type]
        await ending
        assert broker.calls == ["subscribe", "unsubscribe", "subscribe"]
        assert broker._subscribed == {"a"}
        assert node.hub.rooms["a"] is room

    play(scene)


def test_a_broker_that_fails_leaves_no_room_behind() -> None:
    async def scene(node: Node, broker: Broker) -> None:
        room, leave = enter(node)
        broker.error = BrokerError("the network is down")
        with pytest.raises(BrokerError):
            await node.listening.begin(room)  # type: ignore[arg-type]
        broker.error = None
        await node.listening.begin(room)  # type: ignore[arg-type]
        leave()
        broker.error = BrokerError("the network is down")
        with pytest.raises(BrokerError):
            await node.listening.end("a")
        assert not node.hub.rooms
        await node.listening.end("a")

    play(scene)
