"""Recovery under fire, in virtual time: connections are cut, clients are slow, the server starts again.

Still every client ends with every message, once, in order.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.rooms import MemoryPeer, Node, SlowBroker, Talker
from trunkline.core.writer import PreparedMessage
from trunkline.realtime import Limits
from trunkline.realtime.codes import reconnects, resubscribes
from trunkline.realtime.publication import Publication, StreamPosition
from trunkline.testing import memory

MESSAGES = 40
CLIENTS = 4


class LaggingBroker(SlowBroker):
    """Does everything that its promises allow: delivers late, but in order, and takes time for each answer."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._last = 0.0

    def _deliver(self, channel: str, publication: Publication) -> None:
        loop = asyncio.get_running_loop()
        self._last = max(self._last + 1e-6, loop.time() + self._chance.choice((0, 0.01, 0.2)))
        loop.call_at(self._last, super()._deliver, channel, publication)

    async def pause(self) -> None:
        if self._chance.random() < 0.7:
            await asyncio.sleep(self._chance.random() * 0.3)

    async def publish(self, *args: Any, **kwargs: Any) -> StreamPosition:
        position = await super().publish(*args, **kwargs)
        await self.pause()
        return position


class Wire(MemoryPeer):
    """A connection whose peer reads at its own pace, until it is cut."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.room = self.window = window
        self.arrived = asyncio.Event()

    def send_nowait(self, message: PreparedMessage) -> bool:
        sent = super().send_nowait(message)
        self.arrived.set()
        return sent

    def start_closing(self, code: int, reason: str) -> None:
        super().start_closing(code, reason)
        self.arrived.set()

    async def read(self) -> list[Any] | None:
        """The next frame; None when the connection is closed, and everything before was read."""
        while not self.sent:
            if self.closed is not None:
                return None
            self.arrived.clear()
            await self.arrived.wait()
        frame = self.sent.pop(0)
        if self.closed is None:
            self.make_room(self.window - sum(map(len, self.sent)))
        return [json.loads(line) for line in bytes(frame.payload).decode().split("\n")]


class SDK:
    """Does as an official client library: it follows the position, comes back, and recovers."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.chance = random.Random(world.chance.random())
        self.received: list[int] = []
        self.position: tuple[int, str] | None = None
        self.unrecovered = 0
        self.wire: Wire | None = None
        self.slow = number == 0

    async def live(self) -> None:
        while True:
            wire = self.wire = Wire(300 if self.slow else 10_000)
            talker = Talker(self.world.node, self.world.codec)
            talker.connection = talker.client.peer = wire
            try:
                await self.session(talker, wire)
            finally:
                # The server notices later, or hears of it from the peer.
                asyncio.get_running_loop().call_later(self.chance.random() * 0.5, talker.client.closed)
            assert wire.closed is None or reconnects(wire.closed[0]), wire.closed
            await asyncio.sleep(self.chance.random() * 0.3)

    async def session(self, talker: Talker, wire: Wire) -> None:
        receive = self.world.node.commands.receive
        saying = [asyncio.create_task(receive(talker.client, json.dumps(self.hello())))]
        try:
            while (frame := await wire.read()) is not None and wire is self.wire:
                for reply in frame:
                    saying += [
                        asyncio.create_task(receive(talker.client, json.dumps(command))) for command in self.hear(reply)
                    ]
                if self.slow or self.chance.random() < 0.2:
                    await asyncio.sleep(self.chance.random() * 0.2)
        finally:
            for task in saying:
                task.add_done_callback(lambda done: done.exception())

    def hello(self) -> Any:
        return {"id": 1, "connect": {}}

    def subscribe(self) -> Any:
        request: dict[str, Any] = {"channel": "room", "flag": 1}
        if self.position is not None:
            request |= {"recover": True, "offset": self.position[0], "epoch": self.position[1]}
        return {"id": 2, "subscribe": request}

    def hear(self, reply: Any) -> list[Any]:
        if "connect" in reply:
            return [self.subscribe()]
        if "subscribe" in reply:
            result = reply["subscribe"]
            self.unrecovered += bool(result.get("was_recovering")) and not result.get("recovered")
            self.position = result.get("offset", 0), result["epoch"]
            for publication in result.get("publications", ()):
                self.publication(publication)
        elif "pub" in reply.get("push", {}):
            self.publication(reply["push"]["pub"])
        elif "unsubscribe" in reply.get("push", {}):
            assert resubscribes(reply["push"]["unsubscribe"]["code"])
            return [self.subscribe()]
        else:
            assert not reply.get("error"), reply
        return []

    def publication(self, publication: Any) -> None:
        assert self.position is not None, "a push before the reply"
        self.position = publication["offset"], self.position[1]
        self.received.append(publication["data"])

    def cut(self) -> None:
        """Everything on its way is lost."""
        if self.wire is not None and self.wire.closed is None:
            self.wire.closed = 1006, ""
            self.wire.sent.clear()
            self.wire.arrived.set()


class World:
    """A server that may start again, its clients, and a publisher."""

    def __init__(self, seed: int, *, slow: str = "disconnect") -> None:
        self.chance = random.Random(seed)
        self.broker = LaggingBroker(self.chance)
        self.slow = slow
        self.codec = Node(broker=self.broker).talker().client.codec
        self.node = self.new_node()
        self.call: asyncio.Task[StreamPosition] | None = None
        self.clients = [SDK(self, number) for number in range(CLIENTS)]

    def new_node(self) -> Node:
        node = Node(broker=self.broker, limits=Limits(queue=500, history=1000, rate=None))
        node.channel("room", history=1000, slow=self.slow, join_leave=True, presence=True)
        return node

    async def run(self) -> None:
        await self.broker.start(self.node.hub)
        living = [asyncio.create_task(client.live()) for client in self.clients]
        await asyncio.sleep(5)  # all are there before the first message
        cutting = asyncio.create_task(self.cut())
        restarting = asyncio.create_task(self.restart())
        await self.publish()
        cutting.cancel()
        await restarting
        for client in self.clients:
            client.cut()  # once more, as a late message may have been lost with its connection
        await asyncio.sleep(60)
        for task in living:
            assert not task.done() or task.exception() is None, task
            task.cancel()
        await asyncio.wait([*living, cutting])

    async def publish(self) -> None:
        for number in range(MESSAGES):
            while not await self.published(number):
                pass
            await asyncio.sleep(self.chance.choice((0, 0, 0.01, 0.1)))

    async def published(self, number: int) -> bool:
        """Publish; returns False if the server died meanwhile."""
        node = self.node
        channel = node.channels.find("room")
        assert channel is not None
        publication = Publication(str(number).encode())
        self.call = asyncio.create_task(node.publisher.publish(channel[0], "room", publication, id=str(number)))
        await asyncio.wait([self.call])
        return not self.call.cancelled() and self.call.result() is not None

    async def cut(self) -> None:
        while True:
            await asyncio.sleep(self.chance.random() * 0.5)
            self.chance.choice(self.clients).cut()

    async def restart(self) -> None:
        """The server dies, with all connections, and another one takes over the store."""
        await asyncio.sleep(self.chance.random() * 4)
        old, self.node = self.node, self.new_node()
        await self.broker.close()
        await self.broker.start(self.node.hub)
        for client in self.clients:
            client.cut()
        old.hub.rooms.clear()
        if self.call is not None:
            self.call.cancel()


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_every_client_ends_with_every_message_once_and_in_order(seed: int) -> None:
    world = World(seed)
    memory.run(world.run())
    for client in world.clients:
        assert client.received == list(range(MESSAGES))
        assert client.unrecovered == 0


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_a_publisher_that_waits_for_the_slow_loses_nothing_either(seed: int) -> None:
    world = World(seed, slow="block")
    memory.run(world.run())
    for client in world.clients:
        assert client.received == list(range(MESSAGES))


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_dropped_is_counted_and_what_is_not_is_in_order(seed: int) -> None:
    world = World(seed, slow="drop_oldest")
    memory.run(world.run())
    for client in world.clients[1:]:
        assert client.received == list(range(MESSAGES))
    slow = world.clients[0].received
    assert slow == sorted(set(slow))


def test_the_fire_burns() -> None:
    """The tests above would pass, too, if nothing happened in them."""
    cuts = itertools.count()
    restarts = itertools.count()

    class Watched(World):
        async def restart(self) -> None:
            await super().restart()
            next(restarts)

    world = Watched(1)
    for client in world.clients:
        original = client.cut

        def cut(original: Any = original) -> None:
            next(cuts)
            original()

        client.cut = cut  # type: ignore[method-assign]
    memory.run(world.run())
    assert next(cuts) > 10
    assert next(restarts) == 1
