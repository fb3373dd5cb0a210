"""The answer to a command that fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable

from trunkline.realtime import codes
from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.subscriptions.entering import Gone

__all__ = ["answer"]

logger = logging.getLogger("trunkline.realtime")


async def answer(client: Client, id: int, command: Awaitable[None]) -> None:
    """Carry out a command, which answers when it succeeds. If it fails, the error is the answer.

    A command may wait, and meanwhile anything may happen to the client: `Gone` ends a command whose subject has
    vanished.

    Raises:
        Disconnected: if the client must go.
    """
    try:
        await command
    except Gone:
        pass
    except Refused as refused:
        if id:
            client.refuse(id, refused)
    except Disconnected:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _being_cancelled():
            raise
        broken = isinstance(error, BrokerError)
        logger.error("a command of client %s failed: %s", client.id, error, exc_info=None if broken else error)
        if id:
            client.refuse(id, Refused(codes.INTERNAL))


def _being_cancelled() -> bool:
    """Whether this task is to stop. Otherwise a hook waited for a task that was cancelled: the hook failed, no more."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
