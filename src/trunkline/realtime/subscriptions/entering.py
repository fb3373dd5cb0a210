"""The begin of a subscription: a client enters a room and recovers what it missed. Its end stands in `leaving`.

Everything here may wait for the broker, and meanwhile the client may have gone. Then `Gone` is raised: the code that
saw the client go has ended the subscription.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator

from trunkline.frames import CloseCode
from trunkline.realtime import codes
from trunkline.realtime.brokers.base import Broker
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.hub import recovery
from trunkline.realtime.hub.connected import Client, ClientState
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.hub.subscription import Subscription
from trunkline.realtime.options import Limits
from trunkline.realtime.program.channels import Channels
from trunkline.realtime.publication import ClientInfo, StreamPosition
from trunkline.realtime.subscriptions.attendance import Attendance
from trunkline.realtime.subscriptions.leaving import Leaving
from trunkline.realtime.subscriptions.listening import Listening
from trunkline.realtime.wire import messages
from trunkline.realtime.wire.messages import SubscribeRequest, SubscribeResult
from trunkline.realtime.wire.told import Told

__all__ = ["Gone", "Subscriptions", "Unsubscribed", "tell_end"]

logger = logging.getLogger("trunkline.realtime")


class Gone(Exception):  # noqa: N818  # not an error of the caller
    """The client, or its subscription, ended while a command waited."""


class Unsubscribed(Gone):
    """The server ended the subscription while it began, with this code; the client is still to be told."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Subscriptions:
    """Begins and ends subscriptions.

    Args:
        hub: the clients and rooms.
        channels: the declared ones.
        broker: has the history.
        limits: of each client.
        attendance: tells the presence store.
        listening: tells the broker which events the node needs.
        leaving: tells others when a subscription is over.

    Attributes:
        told: what the replies tell of the history.
        postponed: channels that the server subscribes clients to when the command that is carried out has ended.
    """

    def __init__(
        self,
        hub: Hub,
        channels: Channels,
        broker: Broker,
        limits: Limits,
        attendance: Attendance,
        listening: Listening,
        leaving: Leaving,
    ) -> None:
        self.hub = hub
        self.channels = channels
        self.broker = broker
        self.limits = limits
        self.attendance = attendance
        self.listening = listening
        self.leaving = leaving
        self.told = Told()
        self.postponed: dict[Client, list[str]] = {}

    # For the program

    async def subscribe(self, client: Client, name: str) -> None:
        """Subscribe a client to a channel; without effect if it is subscribed, or gone.

        A command of the client that may have the same effect comes to its end first.
        """
        subscription = client.subscriptions.get(name)
        joining = subscription is not None and subscription.buffer is not None and not subscription.server_side
        if joining or client.state is ClientState.CONNECTING:
            self.postponed.setdefault(client, []).append(name)
        if subscription is not None or client.state is not ClientState.CONNECTED:
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
                tell_end(client, name, code)
            await self.end(client, subscription)

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
        channel = self.channels.get(name)
        if channel[0].options.binary and not client.codec.binary:
            raise Refused(codes.NOT_AVAILABLE, "only clients that speak Protobuf can subscribe to this channel")
        before = client.standing.get(name)
        if before is not None and not before.resuming:
            raise Refused(codes.ALREADY_SUBSCRIBED)
        if before is None and len(client.standing) >= self.limits.channels:
            raise Refused(codes.LIMIT_EXCEEDED)
        subscription = client.standing[name] = Subscription(name, *channel, server_side=server_side)
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
        await self.listening.begin(room)
        self.check(client, subscription)
        if subscription.present:
            await self.attendance.update(client, subscription.name)
            self.check(client, subscription)
        if not options.recoverable:
            return SubscribeResult(was_recovering=request.recover)
        recovery = await self._recover(subscription, request)
        self.check(client, subscription)
        if subscription.lost and client.codec.events:
            raise Disconnected(codes.INSUFFICIENT_STATE)
        if request.recover and not recovery.recovered and request.flag & messages.REJECT_UNRECOVERED:
            raise Refused(codes.UNRECOVERABLE_POSITION)
        subscription.skip = recovery.top
        return SubscribeResult(
            recoverable=True,
            positioned=options.recover == "stream",
            epoch=recovery.position.epoch,
            offset=recovery.position.offset,
            publications=self.told.tell(client.codec, recovery.publications),
            recovered=recovery.recovered,
            was_recovering=request.recover,
        )

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
        """A position that a client names. Without an epoch, it is one of the current epoch, such as the beginning."""
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
        """End a subscription, unless it has ended."""
        if client.subscriptions.get(subscription.name) is subscription:
            del client.subscriptions[subscription.name]
            self.hub.leave(client, subscription.name)
            await self.leaving.take_leave(client, [subscription])

    async def expire(self, client: Client, subscription: Subscription) -> None:
        """End a subscription whose time is over, so that the client library begins it again, with a new token."""
        if subscription.server_side:  # only the server can begin it again, when the client connects
            client.disconnect(codes.SUBSCRIPTION_LAPSED)
        else:
            await self.unsubscribe(client, subscription.name, codes.SUBSCRIPTION_EXPIRED)


def tell_end(client: Client, name: str, code: int) -> None:
    """Tell a client that the server has ended its subscription. A plain client is there for nothing else."""
    reason = codes.UNSUBSCRIBES[code]
    if client.codec.events:
        client.push(messages.Push(name, unsubscribe=messages.Unsubscribe(code, reason)))
    else:
        client.disconnect(CloseCode.POLICY_VIOLATION, reason)
