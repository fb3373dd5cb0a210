"""Clients call the program."""

import asyncio
from typing import Any

from tests.support.rooms import Node
from tests.support.scenes import error, scene
from trunkline.realtime import Disconnected
from trunkline.realtime.program.hooks import Hook


def test_procedures_run_beside_each_other() -> None:
    async def play(node: Node) -> None:
        gate = asyncio.Event()

        async def slow(client: Any) -> str:
            await gate.wait()
            return "done"

        def add(client: Any, numbers: list[int]) -> int:
            return sum(numbers)

        async def kick(client: Any) -> None:
            raise Disconnected(4000)

        node.functions.procedures.update(slow=Hook(slow), add=Hook(add), kick=Hook(kick))
        talker = await node.connected()
        assert await talker.say(id=1, rpc={"method": "slow"}) == []
        assert await talker.say(id=2, rpc={"method": "add", "data": [1, 2]}) == [{"id": 2, "rpc": {"data": 3}}]
        assert await talker.say(rpc={"method": "add", "data": ["1"]}) == error(107)
        assert await talker.say(rpc={"method": "other"}) == error(104)
        gate.set()
        await node.tasks.settle()
        assert talker.connection.take() == [{"id": 1, "rpc": {"data": "done"}}]
        await talker.say(rpc={"method": "kick"})
        await node.tasks.settle()
        assert talker.connection.closed == (4000, "")

    scene(play)


def test_messages_outside_of_channels() -> None:
    async def play(node: Node) -> None:
        heard: list[Any] = []

        def message(client: Any, data: int) -> None:
            heard.append(data)

        node.functions.message = Hook(message)
        talker = await node.connected()
        assert await talker.say(id=0, send={"data": 5}) == []
        assert await talker.say(id=0, send={"data": "x"}) == []  # there is no reply to such a command
        assert heard == [5]
        node.functions.message = None
        await talker.say(id=0, send={"data": 5})
        assert talker.connection.closed == (3508, "not available")

    scene(play)
