import asyncio

from tests.support.rooms import Node
from trunkline.realtime import ClientInfo, MemoryPresence


class SlowPresence(MemoryPresence):
    """It takes its time to add somebody."""

    def __init__(self) -> None:
        super().__init__()
        self.adding = asyncio.Event()
        self.gate = asyncio.Event()

    async def add(self, channel: str, client: str, info: ClientInfo) -> None:
        self.adding.set()
        await self.gate.wait()
        await super().add(channel, client, info)


def test_who_goes_while_it_is_added_to_the_presence_is_no_ghost() -> None:
    async def play() -> None:
        async with Node() as node:
            node.channel("a", presence=True)
            presence = SlowPresence()
            node.commands.presence = node.commands.subscriptions.presence = presence
            talker = await node.connected()
            subscribing = asyncio.create_task(talker.say(subscribe={"channel": "a"}))
            await presence.adding.wait()
            talker.client.closed()
            await node.commands.settle()
            presence.gate.set()
            assert await subscribing == []
            assert await presence.get("a") == {}
            assert not node.hub.rooms

    asyncio.run(play())


def test_a_room_that_empties_while_somebody_enters_stays() -> None:
    async def play() -> None:
        async with Node() as node:
            node.channel("a")
            first, second = await node.connected("a"), await node.connected()
            leaving = asyncio.create_task(first.say(unsubscribe={"channel": "a"}))
            entering = asyncio.create_task(second.say(subscribe={"channel": "a"}))
            await asyncio.gather(leaving, entering)
            assert len(node.hub.rooms["a"]) == 1
            assert node.hub.rooms["a"].listening

    asyncio.run(play())
