"""The life of a subscription: a client enters a room, recovers what it missed, and leaves.

Everything here may wait for the broker, and meanwhile the client may have gone: then `Gone` is raised, and what was
begun is ended by whoever saw it go.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from trunkline.frames import CloseCode
from trunkline.realtime import codes, messages, recovery
from trunkline.realtime.client import Client, State, Subscription
from trunkline.realtime.codecs.base import InvalidPayload
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.hooks import call
from trunkline.realtime.messages import SubscribeRequest, SubscribeResult
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition

if TYPE_CHECKING:
    from trunkline.realtime.brokers.base import Broker
    from trunkline.realtime.channels import Channels
    from trunkline.realtime.hub import Hub, Room
    from trunkline.realtime.presence import Presence
    from trunkline.realtime.realtime import Limits

__all__ = ["Gone", "Subscriptions", "Unsubscribed", "as_told"]

logger = logging.getLogger("trunkline.realtime")


class Gone(Exception):  # noqa: N818  # nobody's error
    """The client, or its subscription, ended while a command waited."""


class Unsubscribed(Gone):
    """The server ended the subscription while it began, with this code; the client is still to be told."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Subscriptions:
    """Begins and ends subscriptions; arguments as for `Commands`.

    Attributes:
        postponed: channels that the server subscribes clients to when the command that is carried out has ended.
    """

    def __init__(self, hub: Hub, channels: Channels, broker: Broker, presence: Presence, limits: Limits) -> None:
        self.hub = hub
        self.channels = channels
        self.broker = broker
        self.presence = presence
        self.limits = limits
        self.postponed: dict[Client, list[str]] = {}

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
            if subscription.buffer is None:
                self.tell_end(client, name, code)
            else:
                subscription.ended = code  # the client is told when its command is answered
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
        self.hub.start(client, subscription)
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
        except BaseException:
            await self.end(client, subscription)
            raise

    def begin(self, client: Client, name: str, *, server_side: bool = False) -> Subscription:
        """Take a place for a subscription."""
        if client.over:
            raise Gone
        found = self.channels.get(name)
        if found[0].options.binary and not client.codec.binary:
            raise Refused(codes.NOT_AVAILABLE, "only clients that speak Protobuf can subscribe to this channel")
        if name in client.standing:
            raise Refused(codes.ALREADY_SUBSCRIBED)
        if len(client.standing) >= self.limits.channels:
            raise Refused(codes.LIMIT_EXCEEDED)
        subscription = client.standing[name] = Subscription(name, *found, server_side=server_side)
        return subscription

    async def enter(
        self, client: Client, subscription: Subscription, request: SubscribeRequest, info: bytes | None = None
    ) -> SubscribeResult:
        """Enter the room, and find out where the subscription begins. From here to `hub.start` nothing may wait."""
        options = subscription.options
        shown = client.shown or ClientInfo()
        subscription.info = shown if info is None else ClientInfo(shown.user, shown.client, shown.conn_info, info)
        self.check(client, subscription)
        room = self.hub.enter(client, subscription)
        await self._listen(room)
        self.check(client, subscription)
        if options.presence and subscription.info is not None:
            await self._appear(client, subscription, subscription.info)
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

    async def _appear(self, client: Client, subscription: Subscription, info: ClientInfo) -> None:
        await self.presence.add(subscription.name, client.id, info)
        if client.subscriptions.get(subscription.name) is not subscription:
            # Who went meanwhile was perhaps removed before it was added.
            await self.presence.remove(subscription.name, client.id)
            raise Gone

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
            await self.take_leave(client, subscription)

    async def take_leave(self, client: Client, subscription: Subscription) -> None:
        """Tell others that a subscription is over: presence, subscribers, the program, the broker."""
        name, options = subscription.name, subscription.options
        if subscription.info is not None:
            if options.presence:
                await self.presence.remove(name, client.id)
            if subscription.buffer is None:
                if options.join_leave:
                    await self.broker.publish_leave(name, subscription.info)
                await call(subscription.channel.unsubscribe_hook, client, None, subscription.parameters)
        room = self.hub.rooms.get(name)
        if room is not None and not len(room):
            await self._stop_listening(room)

    async def _stop_listening(self, room: Room) -> None:
        async with room.lock:
            if len(room):
                return
            if room.listening:
                room.listening = False
                await self.broker.unsubscribe(room.name)
            if not len(room) and self.hub.rooms.get(room.name) is room:
                del self.hub.rooms[room.name]


def as_told(client: Client, publications: list[Publication]) -> list[messages.Publication]:
    """Publications as they go into a reply.

    Raises:
        Refused: if one can't be said in the client's encoding. The client library would try again for ever after an
            error that is temporary.
    """
    try:
        return [client.codec.publication(each) for each in publications]
    except InvalidPayload as error:
        raise Refused(codes.NOT_AVAILABLE, str(error)) from None
