"""Orders of one node to the others, through NATS, which doesn't say how many nodes hear a message.

So each node says that it lives, every second, and when it begins and ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.brokers.nats.names import Names
from trunkline.realtime.brokers.orders import MessageControl
from trunkline.realtime.control import Answer, Order

__all__ = ["NatsControl"]

BEAT: Final = 1.0  # seconds
HELLO: Final = 0.3  # seconds that other nodes have to say that they are there
MISSES: Final = 3  # beats after which a node is gone

HERE: Final = b"+"
BEGINS: Final = b"?"  # all others say that they are there
ENDS: Final = b"-"

Tell = Callable[[bytes, bytes], Awaitable[None]]


class NatsControl(MessageControl):
    """Tells orders to the nodes that share NATS, and carries out theirs.

    Args:
        tell: publishes on a subject.
        where: the server, for the log.
        names: of messages.
        node: id of this node.
    """

    def __init__(self, tell: Tell, where: str, names: Names, node: str) -> None:
        super().__init__(node)
        self._tell_subject = tell
        self._server = where
        self._names = names
        self._nodes: dict[str, float] = {}  # when each other node was heard last
        self._known_at = 0.0  # when all others have had the time to answer the first message of this node
        self._beating: asyncio.Task[None] | None = None

    @property
    def _where(self) -> str:
        return f"NATS at {self._server}"

    async def start(self, carry_out: Callable[[Order], Awaitable[Answer]]) -> None:
        await super().start(carry_out)
        self._nodes.clear()
        self._known_at = time.monotonic() + HELLO
        await self._say(BEGINS)
        self._beating = asyncio.get_running_loop().create_task(self._keep_beating())

    async def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._beating
            self._beating = None
            with contextlib.suppress(BrokerError):
                await self._say(ENDS)
        await super().close()

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            with contextlib.suppress(BrokerError):
                await self._say(HERE)

    async def _say(self, state: bytes) -> None:
        await self._tell_subject(self._names.beats, state + self._node.encode())

    def on_beat(self, payload: bytes) -> None:
        """A node lives, or ends."""
        state, node = payload[:1], payload[1:].decode(errors="replace")
        if node == self._node or self._carry_out is None:
            return
        if state == ENDS:
            self._nodes.pop(node, None)
            return
        self._nodes[node] = time.monotonic()
        if state == BEGINS:
            task = asyncio.get_running_loop().create_task(self._answer_hello())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_hello(self) -> None:
        with contextlib.suppress(BrokerError):
            await self._say(HERE)

    async def _send_order(self, message: bytes) -> int:
        await self._tell_subject(self._names.all_nodes, message)
        await asyncio.sleep(self._known_at - time.monotonic())
        oldest = time.monotonic() - BEAT * MISSES
        self._nodes = {node: heard for node, heard in self._nodes.items() if heard > oldest}
        return len(self._nodes)

    async def _send_answer(self, node: str, message: bytes) -> None:
        await self._tell_subject(self._names.node_messages(node), message)
