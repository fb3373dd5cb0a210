"""The life of a subscription: a client enters a room, recovers what it missed, and leaves (see `leaving`).

Everything here may wait for the broker, and meanwhile the client may have gone: then `Gone` is raised, and what was
begun is ended by whoever saw it go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

from trunkline.frames import CloseCode
from trunkline.realtime import codes, messages, recovery
from trunkline.realtime.client import Client, State, Subscription
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.messages import SubscribeRequest, SubscribeResult
from trunkline.realtime.payloads import as_told
from trunkline.realtime.publication import ClientInfo, StreamPosition

if TYPE_CHECKING:
    from trunkline.realtime.attendance import Attendance
    from trunkline.realtime.brokers.base import Broker
    from trunkline.realtime.channels import Channels
    from trunkline.realtime.hub import Hub, Room
    from trunkline.realtime.leaving import Leaving
    from trunkline.realtime.realtime import Limits
    from trunkline.realtime.tasks import Tasks

__all__ = ["Gone", "Subscriptions", "Unsubscribed"]

logger = logging.getLogger("trunkline.realtime")

# After a gap, clients recover in portions, within ten seconds or so.
TOGETHER: Final = 10  # clients at least in a portion
PAUSE: Final = 0.01  # seconds between two
STEPS: Final = 1000  # portions at most


class Gone(Exception):  # noqa: N818  # nobody's error
    """The client, or its subscription, ended while a command waited."""


class Unsubscribed(Gone):
    """The server ended the subscription while it began, with this code; the client is still to be told."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Subscriptions:
    """Begins and ends subscriptions.

    Args:
        hub, channels, broker, limits, clock: as for `Commands`.
        attendance: tells the presence store.
        leaving: tells others when a subscription is over.
        tasks: those of the node.

    Attributes:
        on_deadline_moved: called with a client for which something may be due earlier.
        postponed: channels that the server subscribes clients to when the command that is carried out has ended.
    """

    def __init__(
        self,
        hub: Hub,
        channels: Channels,
        broker: Broker,
        limits: Limits,
        clock: Callable[[], float],
        attendance: Attendance,
        leaving: Leaving,
        tasks: Tasks,
    ) -> None:
        self.hub = hub
        self.channels = channels
        self.broker = broker
        self.limits = limits
        self.clock = clock
        self.attendance = attendance
        self.leaving = leaving
        self.tasks = tasks
        self.on_deadline_moved: Callable[[Client], None] = lambda client: None
        self.postponed: dict[Client, list[str]] = {}
        self._lost: deque[tuple[Client, Subscription]] = deque()
        self._recovering = False
        hub.on_position_lost = self._position_lost

    # For the program

    async def subscribe(self, client: Client, name: str) -> None:
        """Subscribe a client to a channel; without effect if it is subscribed, or gone.

        A command of the client that may have the same effect comes to its end first.
        """
        subscription = client.subscriptions.get(name)
        joining = subscription is not None and subscription.buffer is not None and not subscription.server_side
        if joining or client.state is State.CONNECTING:
            self.postponed.setdefault(client, []).append(name)
        if subscription is not None or client.state is not State.CONNECTED:
            return
        try:
            async with self.joining(client, name, server_side=True) as subscription:
                result = await self.enter(client, subscription, SubscribeRequest())
                push = messages.Subscribe(result.recoverable, result.epoch, result.offset, result.positioned)
                client.push(messages.Push(name, subscribe=push))
        except Gone:
            pass
        except Disconnected as error:
            client.disconnect(error.code, error.reason)

    async def catch_up(self, client: Client) -> None:
        """A command of a client has ended: subscribe the client to what had to wait for that."""
        for name in self.postponed.pop(client, ()):
            try:
                await self.subscribe(client, name)
            except Refused as refused:
                logger.info("client %s can't be subscribed to %s: %s", client.id, name, refused)

    async def unsubscribe(self, client: Client, name: str, code: int = codes.UNSUBSCRIBED) -> None:
        """End a client's subscription; without effect if there is none."""
        if client in self.postponed:
            self.postponed[client] = [each for each in self.postponed[client] if each != name]
        subscription = client.subscriptions.get(name)
        if subscription is not None:
            if subscription.buffer is not None:
                subscription.ended = code  # the client is told when its command is answered
            elif not subscription.resuming or not codes.resubscribes(code):  # it was told the like
                self.tell_end(client, name, code)
            await self.end(client, subscription)

    def tell_end(self, client: Client, name: str, code: int) -> None:
        """Tell a client that the server has ended its subscription. A plain client is there for nothing else."""
        reason = codes.UNSUBSCRIBES[code]
        if client.codec.events:
            client.push(messages.Push(name, unsubscribe=messages.Unsubscribe(code, reason)))
        else:
            client.disconnect(CloseCode.POLICY_VIOLATION, reason)

    # From the beginning to the end

    @contextlib.asynccontextmanager
    async def joining(self, client: Client, name: str, *, server_side: bool = False) -> AsyncIterator[Subscription]:
        """Begin a subscription, start it when all went well, else end it. The last step inside must not wait."""
        async with self.beginning(client, name, server_side=server_side) as subscription:
            yield subscription
        resumed = subscription.before is not None
        self.hub.start(client, subscription)
        if not resumed:
            await self.announce(client, subscription)

    @contextlib.asynccontextmanager
    async def beginning(self, client: Client, name: str, *, server_side: bool = False) -> AsyncIterator[Subscription]:
        """Begin a subscription, which ends if anything goes wrong inside.

        Raises:
            Unsubscribed: if the server ended it meanwhile.
            Gone: if the client is gone.
        """
        subscription = self.begin(client, name, server_side=server_side)
        try:
            yield subscription
        except Gone:
            if subscription.ended is not None:
                raise Unsubscribed(subscription.ended) from None
            raise
        except BaseException as error:
            await self._undo(client, subscription, error)
            raise

    async def _undo(self, client: Client, subscription: Subscription, error: BaseException) -> None:
        """A subscription couldn't begin. One that was to be resumed stays if the client library tries again."""
        name, before = subscription.name, subscription.before
        if before is None or client.subscriptions.get(name) is not subscription:
            await self.end(client, subscription)
            return
        client.subscriptions[name] = before
        self.hub.put_back(client, before)
        final = not error.temporary if isinstance(error, Refused) else not isinstance(error, Exception)
        if final:
            await self.end(client, before)

    def begin(self, client: Client, name: str, *, server_side: bool = False) -> Subscription:
        """Take a place for a subscription."""
        if client.over:
            raise Gone
        found = self.channels.get(name)
        if found[0].options.binary and not client.codec.binary:
            raise Refused(codes.NOT_AVAILABLE, "only clients that speak Protobuf can subscribe to this channel")
        before = client.standing.get(name)
        if before is not None and not before.resuming:
            raise Refused(codes.ALREADY_SUBSCRIBED)
        if before is None and len(client.standing) >= self.limits.channels:
            raise Refused(codes.LIMIT_EXCEEDED)
        subscription = client.standing[name] = Subscription(name, *found, server_side=server_side)
        if before is not None:
            subscription.resume(before)
        return subscription

    async def enter(
        self, client: Client, subscription: Subscription, request: SubscribeRequest, info: bytes | None = None
    ) -> SubscribeResult:
        """Enter the room, and find out where the subscription begins. From here to `hub.start` nothing may wait."""
        options = subscription.options
        await self.leaving.wait_until_left(client, subscription.name)
        shown = client.shown or ClientInfo()
        subscription.info = shown if info is None else ClientInfo(shown.user, shown.client, shown.conn_info, info)
        self.check(client, subscription)
        room = self.hub.enter(client, subscription)
        await self._listen(room)
        self.check(client, subscription)
        if subscription.present:
            await self.attendance.update(client, subscription.name)
            self.check(client, subscription)
        if not options.recoverable:
            return SubscribeResult(was_recovering=request.recover)
        found = await self._recover(subscription, request)
        self.check(client, subscription)
        if subscription.lost and client.codec.events:
            raise Disconnected(codes.INSUFFICIENT_STATE)
        if request.recover and not found.recovered and request.flag & messages.REJECT_UNRECOVERED:
            raise Refused(codes.UNRECOVERABLE_POSITION)
        subscription.skip = found.top
        return SubscribeResult(
            recoverable=True,
            positioned=options.recover == "stream",
            epoch=found.position.epoch,
            offset=found.position.offset,
            publications=as_told(client, found.publications),
            recovered=found.recovered,
            was_recovering=request.recover,
        )

    async def _listen(self, room: Room) -> None:
        if not room.listening:
            async with room.lock:
                # The client may have left meanwhile, and then the room is gone, or another one has its name.
                if not room.listening and self.hub.rooms.get(room.name) is room:
                    await self.broker.subscribe(room.name)
                    room.listening = True

    async def _recover(self, subscription: Subscription, request: SubscribeRequest) -> recovery.Recovery:
        name = subscription.name
        since = await self.position(name, request.offset, request.epoch) if request.recover else None
        if subscription.options.recover == "cache":
            newest = await self.broker.history(name, limit=1, reverse=True)
            return recovery.recover_newest(since, newest, subscription.buffer or [])
        if since is None:
            return recovery.begin((await self.broker.history(name, limit=0)).position)
        missed = await self.broker.history(name, since=since, limit=self.limits.history + 1)
        return recovery.recover(since, missed, subscription.buffer or [], self.limits.history)

    async def position(self, name: str, offset: int, epoch: str) -> StreamPosition:
        """A position that a client names. Who names no epoch means the current one, such as for the beginning."""
        return StreamPosition(offset, epoch or (await self.broker.history(name, limit=0)).position.epoch)

    def check(self, client: Client, subscription: Subscription) -> None:
        if client.subscriptions.get(subscription.name) is not subscription:
            raise Gone

    async def announce(self, client: Client, subscription: Subscription) -> None:
        """Tell others of a subscription. Its command is answered: that this failed is no second answer."""
        if subscription.options.join_leave and subscription.info is not None:
            try:
                await self.broker.publish_join(subscription.name, subscription.info)
            except Exception as error:
                logger.error("client %s joined %s unannounced", client.id, subscription.name, exc_info=error)

    async def end(self, client: Client, subscription: Subscription) -> None:
        """End a subscription, if nobody else did."""
        if client.subscriptions.get(subscription.name) is subscription:
            del client.subscriptions[subscription.name]
            self.hub.leave(client, subscription.name)
            await self.leaving.take_leave(client, [subscription])

    # After a gap

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._lost.clear()
        self._recovering = False

    def _position_lost(self, client: Client, subscription: Subscription) -> None:
        """A client must recover."""
        self._lost.append((client, subscription))
        if not self._recovering:
            self._recovering = True
            self.tasks.spawn(self._let_recover())

    async def _let_recover(self) -> None:
        """Let clients recover some at a time, as each reads the history."""
        together = TOGETHER
        try:
            while self._lost:
                together = max(together, len(self._lost) // STEPS)
                for _ in range(min(together, len(self._lost))):
                    self._ask_to_resume(*self._lost.popleft())
                await asyncio.sleep(PAUSE)
        finally:
            self._recovering = False

    def _ask_to_resume(self, client: Client, subscription: Subscription) -> None:
        """Client libraries subscribe again only where the client had subscribed itself."""
        if client.subscriptions.get(subscription.name) is not subscription:
            return
        if subscription.server_side:
            client.disconnect(codes.INSUFFICIENT_STATE)
            return
        subscription.resuming = True
        until = self.clock() + client.timeouts.resume
        subscription.ends_at = until if subscription.ends_at is None else min(until, subscription.ends_at)
        self.on_deadline_moved(client)
        self.tell_end(client, subscription.name, codes.POSITION_LOST)
