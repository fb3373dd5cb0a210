"""The program subscribes and unsubscribes clients, and hears of those that go."""

import asyncio
from typing import Any

import pytest

from tests.support.rooms import Node
from tests.support.scenes import publish, scene, texts
from trunkline.realtime.program.hooks import Hook


def test_the_server_subscribes_and_unsubscribes() -> None:
    async def play(node: Node) -> None:
        gone: list[str] = []
        room = node.channel("a:{x}", history=1, subscribe="nobody")
        room.on_unsubscribe(lambda client, x: gone.append(x))
        talker = await node.connected()
        await node.subscriptions.subscribe(talker.client, "a:1")
        await node.subscriptions.subscribe(talker.client, "a:1")
        [push] = talker.connection.take()
        assert push["push"]["channel"] == "a:1"
        assert push["push"]["subscribe"]["recoverable"]
        await publish(node, "a:1", "x")
        assert texts(talker.connection.take()) == ["x"]
        await node.subscriptions.unsubscribe(talker.client, "a:1")
        await node.subscriptions.unsubscribe(talker.client, "a:1")
        assert talker.connection.take() == [
            {"push": {"channel": "a:1", "unsubscribe": {"code": 2000, "reason": "server unsubscribed"}}}
        ]
        assert gone == ["1"]

    scene(play)


def test_hooks_hear_of_those_who_go() -> None:
    async def play(node: Node) -> None:
        heard: list[str] = []
        room = node.channel("a")
        room.on_unsubscribe(lambda client: heard.append("unsubscribe"))
        node.functions.disconnect = Hook(lambda client: heard.append("disconnect"))
        talker = await node.connected("a")
        talker.client.closed()
        node.talker().client.closed()  # never connected
        await node.tasks.settle()
        assert heard == ["unsubscribe", "disconnect"]

    scene(play)


@pytest.mark.parametrize("how", ["refused", "gone", "disconnected"])
def test_hooks_do_not_hear_of_those_who_never_were_connected(how: str) -> None:
    async def play(node: Node) -> None:
        heard: list[str] = []
        node.channel("a")

        def connect(client: Any) -> None:
            client.channels = ["a", "nowhere"] if how == "refused" else ["a"]
            if how == "disconnected":
                client.disconnect(4000)

        node.functions.connect = Hook(connect)
        node.functions.disconnect = Hook(lambda client: heard.append("disconnect"))
        entered = asyncio.Event()

        async def subscribe(channel: str) -> None:
            entered.set()
            await asyncio.sleep(0)

        if how == "gone":
            node.broker.subscribe = subscribe  # type: ignore[method-assign]
        talker = node.talker()
        connecting = asyncio.create_task(talker.say(connect={}))
        if how == "gone":
            await entered.wait()
            talker.client.closed()
        await connecting
        talker.client.closed()
        await node.tasks.settle()
        assert heard == []
        assert not node.hub.rooms

    scene(play)
