"""Takes frames apart and has each command carried out, or does what is due when a client says nothing.

Commands of one client are carried out one after the other, but for `rpc`, of which several may run at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping

from trunkline.realtime import codes
from trunkline.realtime.backpressure import wait_read
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.commands.answer import CarryOut, carry_out_now
from trunkline.realtime.hub.connected import Client, ClientState
from trunkline.realtime.limits import Rate, TokenBucket
from trunkline.realtime.subscriptions.entering import Subscriptions
from trunkline.realtime.tasks import Tasks
from trunkline.realtime.wire.codecs.base import HALF, InvalidFrame
from trunkline.realtime.wire.messages import Command, Garbled

__all__ = ["Commands"]

logger = logging.getLogger("trunkline.realtime")


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
        """`take`, and wait until all is carried out."""
        rest = self.take(client, frame)
        if rest is not None:
            await rest

    def take(self, client: Client, frame: str | bytes) -> Awaitable[None] | None:
        """Carry out the commands in a frame. Faults of the client close its connection, with a code that says why.

        Returns:
            None, or what is to be awaited before the next frame: a command has to wait.
        """
        client.heard()
        client.busy = True
        rest = None
        try:
            if frame != client.codec.pong or not self._is_pong(client):
                rest = self._carry_out_all(client, iter(client.codec.decode(frame)))
        except (InvalidFrame, Disconnected) as error:
            self._disconnect(client, error)
        finally:
            if rest is None:
                self._finish(client)
        return rest

    def _is_pong(self, client: Client) -> bool:
        """Whether a frame without a request is the answer to a ping, which counts as a command and asks for nothing."""
        if client.state is not ClientState.CONNECTED or client.outbox is not None:
            return False
        self._within_rate(client)
        return True

    def _carry_out_all(self, client: Client, commands: Iterator[Command | Garbled]) -> Awaitable[None] | None:
        for command in commands:
            waiting = self._carry_out_one(client, command)
            if waiting is not None:
                return self._go_on(client, waiting, commands)
            if client.over:
                break
        return None

    async def _go_on(self, client: Client, waiting: Awaitable[None], commands: Iterator[Command | Garbled]) -> None:
        """Wait for a command, then carry out those behind it."""
        try:
            await waiting
            for command in commands:
                if client.over:
                    break
                rest = self._carry_out_one(client, command)
                if rest is not None:
                    await rest
        except Disconnected as error:
            self._disconnect(client, error)
        finally:
            self._finish(client)

    def _carry_out_one(self, client: Client, command: Command | Garbled) -> Awaitable[None] | None:
        if client.outbox is not None and client.outbox.answers:
            return self._when_read(client, command)
        if client.over:
            return None
        client.admit(command)
        rest = self._handle(client, command)
        if rest is not None:
            return self._then_catch_up(client, rest)
        return self._subscriptions.catch_up(client) if client in self._subscriptions.postponed else None

    async def _when_read(self, client: Client, command: Command | Garbled) -> None:
        await wait_read(client)
        rest = self._carry_out_one(client, command)
        if rest is not None:
            await rest

    async def _then_catch_up(self, client: Client, command: Awaitable[None]) -> None:
        await command
        if client in self._subscriptions.postponed:
            await self._subscriptions.catch_up(client)

    def _disconnect(self, client: Client, error: InvalidFrame | Disconnected) -> None:
        if isinstance(error, Disconnected):
            client.disconnect(error.code, error.reason)
        else:
            logger.info("client %s sent no frame of commands: %s", client.id, error)
            client.disconnect(codes.INVALID_REQUEST, str(error))

    def _finish(self, client: Client) -> None:
        client.busy = False
        self._subscriptions.postponed.pop(client, None)

    def on_deadline(self, client: Client, now: float) -> None:
        """Do what is due for a client, such as to end a subscription whose token it didn't refresh."""
        for subscription in client.on_deadline(now):
            subscription.ends_at = None
            self._tasks.spawn(self._subscriptions.expire(client, subscription))

    def _handle(self, client: Client, command: Command | Garbled) -> Awaitable[None] | None:
        if not self._within_rate(client):
            if command.id:
                client.refuse(command.id, Refused(codes.TOO_MANY_REQUESTS))
            return None
        if isinstance(command, Garbled):
            if command.id:
                client.refuse(command.id, Refused(codes.BAD_REQUEST, f"the command can't be read: {HALF}"))
            return None
        for name, carry_out in self._carry_out.items():
            request = getattr(command, name)
            if request is not None:
                if not command.id and name != "send":
                    raise Disconnected(codes.INVALID_REQUEST, f"a {name} command needs an id")
                return carry_out_now(client, command.id, carry_out, request)
        if command.id:  # without one it answers a ping
            client.refuse(command.id, Refused(codes.METHOD_NOT_FOUND))
        return None

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
