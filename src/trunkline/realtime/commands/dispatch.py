"""Takes frames apart and has each command carried out, or does what is due when a client says nothing.

Commands of one client are carried out one after the other, but for `rpc`, of which several may run at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from trunkline.realtime import codes
from trunkline.realtime.backpressure import wait_read
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.commands.answer import answer
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.limits import Rate, TokenBucket
from trunkline.realtime.subscriptions.entering import Subscriptions
from trunkline.realtime.tasks import Tasks
from trunkline.realtime.wire.codecs.base import HALF, InvalidFrame
from trunkline.realtime.wire.messages import Command, Garbled

__all__ = ["CarryOut", "Commands"]

logger = logging.getLogger("trunkline.realtime")

#: Carries out the commands of one kind, for a client: it gets the id of the command, and the request.
CarryOut = Callable[[Client, int, Any], Awaitable[None]]


class Commands:
    """Carries out the commands of clients.

    Args:
        carry_out: by the name of the command, those that are frequent first.
        subscriptions: begins those that had to wait for a command.
        rate: of the commands of one client, None for no limit.
        clock: seconds, never going back.
        tasks: those of the node.
    """

    def __init__(
        self,
        carry_out: Mapping[str, CarryOut],
        subscriptions: Subscriptions,
        rate: Rate | None,
        clock: Callable[[], float],
        tasks: Tasks,
    ) -> None:
        self._carry_out = carry_out
        self._subscriptions = subscriptions
        self._rate = rate
        self._clock = clock
        self._tasks = tasks

    async def receive(self, client: Client, frame: str | bytes) -> None:
        """Carry out the commands in a frame. Faults of the client close its connection, with a code that says why."""
        client.busy = True
        client.heard()
        postponed = self._subscriptions.postponed
        try:
            for command in client.codec.decode(frame):
                await wait_read(client)
                if client.over:
                    return
                client.admit(command)
                await self._handle(client, command)
                if client in postponed:
                    await self._subscriptions.catch_up(client)
        except InvalidFrame as error:
            logger.info("client %s sent no frame of commands: %s", client.id, error)
            client.disconnect(codes.INVALID_REQUEST, str(error))
        except Disconnected as error:
            client.disconnect(error.code, error.reason)
        finally:
            client.busy = False
            postponed.pop(client, None)

    def on_deadline(self, client: Client, now: float) -> None:
        """Do what is due for a client, such as to end a subscription whose token it didn't refresh."""
        for subscription in client.on_deadline(now):
            subscription.ends_at = None
            self._tasks.spawn(self._subscriptions.expire(client, subscription))

    async def _handle(self, client: Client, command: Command | Garbled) -> None:
        if not self._within_rate(client):
            if command.id:
                client.refuse(command.id, Refused(codes.TOO_MANY_REQUESTS))
            return
        if isinstance(command, Garbled):
            if command.id:
                client.refuse(command.id, Refused(codes.BAD_REQUEST, f"the command can't be read: {HALF}"))
            return
        for name, carry_out in self._carry_out.items():
            request = getattr(command, name)
            if request is not None:
                if not command.id and name != "send":
                    raise Disconnected(codes.INVALID_REQUEST, f"a {name} command needs an id")
                await answer(client, command.id, carry_out(client, command.id, request))
                return
        if command.id:  # without one it answers a ping
            client.refuse(command.id, Refused(codes.METHOD_NOT_FOUND))

    def _within_rate(self, client: Client) -> bool:
        """Whether one more command is within the rate. A client that goes on long after it wasn't is disconnected."""
        rate = self._rate
        if rate is None:
            return True
        if client.bucket is None:
            client.bucket = TokenBucket(rate)
        if client.bucket.take(self._clock()):
            client.refusals = 0
            return True
        client.refusals += 1
        if client.refusals > rate.burst:
            raise Disconnected(codes.FLOOD)
        return False
