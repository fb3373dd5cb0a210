"""The answer to a command that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from trunkline.realtime import codes
from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.subscriptions.entering import Gone

__all__ = ["CarryOut", "answer", "carry_out_now"]

logger = logging.getLogger("trunkline.realtime")


#: Carries out the commands of one kind, for a client: it gets the id of the command, and the request. It returns what
#: is to be awaited, None if all is done.
CarryOut = Callable[[Client, int, Any], Awaitable[None] | None]


def carry_out_now(client: Client, id: int, carry_out: CarryOut, request: Any) -> Awaitable[None] | None:
    """Carry out a command; as `answer`, but return what is to be awaited, None if nothing is.

    Raises:
        Disconnected: if the client must go.
    """
    try:
        rest = carry_out(client, id, request)
    except (Exception, asyncio.CancelledError) as error:
        _answer_error(client, id, error)
        return None
    return None if rest is None else answer(client, id, rest)


async def answer(client: Client, id: int, command: Awaitable[None]) -> None:
    """Carry out a command, which answers when it succeeds. If it fails, the error is the answer.

    A command may wait, and meanwhile anything may happen to the client: `Gone` ends a command whose subject has
    vanished.

    Raises:
        Disconnected: if the client must go.
    """
    try:
        await command
    except (Exception, asyncio.CancelledError) as error:
        _answer_error(client, id, error)


def _answer_error(client: Client, id: int, error: Exception | asyncio.CancelledError) -> None:
    if isinstance(error, Gone):
        return
    if isinstance(error, Refused):
        if id:
            client.refuse(id, error)
        return
    if isinstance(error, Disconnected) or (isinstance(error, asyncio.CancelledError) and _being_cancelled()):
        raise error
    broken = isinstance(error, BrokerError)
    logger.error("a command of client %s failed: %s", client.id, error, exc_info=None if broken else error)
    if id:
        client.refuse(id, Refused(codes.INTERNAL))


def _being_cancelled() -> bool:
    """Whether this task is to stop. Otherwise a hook waited for a task that was cancelled: the hook failed, no more."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
