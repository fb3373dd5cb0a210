"""Orders of one node to the others, as messages.

An order is a message that every node hears. The sender waits for as many answers as nodes have heard it. An answer is a
message that only the sender hears.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.control import PATIENCE, Answer, Control, Order

__all__ = ["MessageControl"]

logger = logging.getLogger("trunkline.realtime")


class _Told(msgspec.Struct, array_like=True, frozen=True):
    """An order on its way. `number` is one that its node, `teller`, gave it."""

    teller: str
    number: int
    order: msgspec.Raw


class _Answered(msgspec.Struct, array_like=True, frozen=True):
    """What `node` answers to an order; None if it couldn't carry it out."""

    node: str
    number: int
    answer: Answer | None


_seal: Final = msgspec.msgpack.Encoder().encode
_open_told: Final = msgspec.msgpack.Decoder(_Told).decode
_open_answered: Final = msgspec.msgpack.Decoder(_Answered).decode
_open_order: Final = msgspec.msgpack.Decoder[Order](Order).decode


class _Asked:
    """An order that waits for answers.

    Attributes:
        nodes: that have answered.
        answers: those of them that carried it out.
        wanted: number of answers; None until it is known how many nodes heard the order.
        complete: done when all are there.
    """

    __slots__ = ("answers", "complete", "nodes", "wanted")

    def __init__(self) -> None:
        self.nodes: set[str] = set()
        self.answers: dict[str, Answer] = {}
        self.wanted: int | None = None
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def check(self) -> None:
        if self.wanted is not None and len(self.nodes) >= self.wanted and not self.complete.done():
            self.complete.set_result(None)


class MessageControl(Control):
    """Tells orders to the nodes that share a server, and carries out theirs; a subclass sends the messages.

    Args:
        node: id of this node.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._numbers = itertools.count()
        self._carry_out: Callable[[Order], Awaitable[Answer]] | None = None
        self._asked: dict[int, _Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    @abstractmethod
    def _where(self) -> str:
        """The server, for the log."""

    @abstractmethod
    async def _send_order(self, message: bytes) -> int:
        """Send an order to all nodes. Returns how many others hear it.

        Raises:
            BrokerError: if that fails.
        """

    @abstractmethod
    async def _send_answer(self, node: str, message: bytes) -> None:
        """Send an answer to a node.

        Raises:
            BrokerError: if that fails.
        """

    async def start(self, carry_out: Callable[[Order], Awaitable[Answer]]) -> None:
        self._carry_out = carry_out

    async def close(self) -> None:
        self._carry_out = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def tell(self, order: Order, *, timeout: float = PATIENCE) -> Mapping[str, Answer]:
        if self._carry_out is None:
            raise BrokerError(f"this {type(self).__name__} isn't started, or is closed already")
        number, asked = next(self._numbers), _Asked()
        self._asked[number] = asked
        try:
            asked.wanted = await self._send_order(_seal(_Told(self._node, number, msgspec.Raw(_seal(order)))))
            asked.check()
            await asyncio.wait([asked.complete], timeout=timeout)
            return asked.answers
        finally:
            del self._asked[number]

    # Messages

    def on_order(self, payload: bytes) -> None:
        """A node has told an order."""
        try:
            told = _open_told(payload)
        except msgspec.MsgspecError as error:
            logger.warning("an order in %s isn't ours: %s", self._where, error)
            return
        if told.teller != self._node and self._carry_out is not None:
            task = asyncio.get_running_loop().create_task(self._obey(told, self._carry_out))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _obey(self, told: _Told, carry_out: Callable[[Order], Awaitable[Answer]]) -> None:
        answer = None
        try:
            answer = await carry_out(_open_order(told.order))
        except msgspec.MsgspecError as error:
            logger.error("node %s told an order that this version doesn't know: %s", told.teller, error)
        except Exception:
            logger.exception("an order of node %s couldn't be carried out", told.teller)
        with contextlib.suppress(BrokerError):  # then the answer is missing
            await self._send_answer(told.teller, _seal(_Answered(self._node, told.number, answer)))

    def on_answer(self, payload: bytes) -> None:
        """A node has answered an order of this one."""
        try:
            answered = _open_answered(payload)
        except msgspec.MsgspecError as error:
            logger.warning("an answer in %s isn't ours: %s", self._where, error)
            return
        asked = self._asked.get(answered.number)
        if asked is not None:
            asked.nodes.add(answered.node)
            if answered.answer is not None:
                asked.answers[answered.node] = answered.answer
            asked.check()
