"""Orders of one node to the others, through Redis, which tells the sender how many nodes heard an order."""

from __future__ import annotations

from trunkline.realtime.brokers.orders import MessageControl
from trunkline.realtime.brokers.redis.commands import Commands
from trunkline.realtime.brokers.redis.names import Names

__all__ = ["RedisControl"]


class RedisControl(MessageControl):
    """Tells orders to the nodes that share a Redis, and carries out theirs.

    Args:
        commands: the connection.
        names: of messages.
        node: id of this node.
    """

    def __init__(self, commands: Commands, names: Names, node: str) -> None:
        super().__init__(node)
        self._commands = commands
        self._names = names

    @property
    def _where(self) -> str:
        return f"Redis at {self._commands.address}"

    async def _send_order(self, message: bytes) -> int:
        heard: int = await self._commands.call(b"PUBLISH", self._names.all_nodes, message, repeat=False)
        return heard - 1  # this node heard it, too

    async def _send_answer(self, node: str, message: bytes) -> None:
        await self._commands.call(b"PUBLISH", self._names.node_messages(node), message)
