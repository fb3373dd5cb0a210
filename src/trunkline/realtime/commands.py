"""Carries out the commands of clients.

Commands of one client are carried out one after the other, but for `rpc`, of which several may run at a time. A command
may wait, for a hook or for the broker, and meanwhile anything may happen to the client: `Gone` ends a command whose
subject has vanished.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import itertools
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.core.writer import PreparedMessage
from trunkline.realtime import codes, messages
from trunkline.realtime.attendance import Attendance
from trunkline.realtime.auth import overridden, time_left, verify_connection, verify_subscription
from trunkline.realtime.brokers.base import Broker, BrokerError
from trunkline.realtime.channels import Channel, Channels, Who
from trunkline.realtime.client import Client, State, Subscription
from trunkline.realtime.codecs.base import HALF, InvalidFrame
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.hooks import Hook, call, decoded, encode
from trunkline.realtime.hub import Hub
from trunkline.realtime.identity import as_ttl
from trunkline.realtime.leaving import Leaving
from trunkline.realtime.limits import Buckets, TokenBucket
from trunkline.realtime.messages import Command, Garbled, SubscribeRequest, SubscribeResult, as_bytes
from trunkline.realtime.payloads import as_told, check_json, check_returned
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition
from trunkline.realtime.subscriptions import Gone, Subscriptions, Unsubscribed
from trunkline.realtime.tasks import Tasks
from trunkline.version import __version__

if TYPE_CHECKING:
    from trunkline.realtime.plain import PlainCodec
    from trunkline.realtime.presence import Presence
    from trunkline.realtime.realtime import Limits
    from trunkline.realtime.tokens import SubscriptionToken, Tokens

__all__ = ["Commands"]

logger = logging.getLogger("trunkline.realtime")


VERSION = f"trunkline {__version__}"


class ServerSide(NamedTuple):
    """What a token says of a channel that the server subscribes its client to."""

    info: bytes | None = None
    data: bytes | None = None
    override: Mapping[str, bool] = {}


class Commands:
    """What clients can ask of a node.

    Args:
        hub: who is there.
        channels: what is declared.
        broker: carries publications.
        presence: remembers who is where.
        limits: what clients may.
        clock: seconds, never going back.
        wall_clock: seconds since 1970.
    """

    def __init__(
        self,
        hub: Hub,
        channels: Channels,
        broker: Broker,
        presence: Presence,
        limits: Limits,
        clock: Callable[[], float],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.hub = hub
        self.channels = channels
        self.broker = broker
        self.presence = presence
        self.limits = limits
        self.clock = clock
        self.wall_clock = wall_clock
        self._tasks = Tasks()
        self._running_calls: set[asyncio.Task[None]] = set()
        self.attendance = Attendance(hub, presence)
        self.leaving = Leaving(hub, broker, self.attendance, self._tasks)
        self.subscriptions = Subscriptions(
            hub, channels, broker, limits, clock, self.attendance, self.leaving, self._tasks
        )
        self.connect_hook: Hook | None = None
        self.message_hook: Hook | None = None
        self.refresh_hook: Callable[[Client, str], Any] | None = None
        self.disconnect_hook: Hook | None = None
        self.procedures: dict[str, Hook] = {}
        self.tokens: Tokens | None = None
        self._calls: dict[Client, int] = {}
        self._published = Buckets()
        self._carry_out: dict[str, Callable[[Client, int, Any], Awaitable[None]]] = {
            "publish": self._publish,
            "rpc": self._rpc,
            "send": self._send,
            "subscribe": self._subscribe,
            "unsubscribe": self._unsubscribe,
            "history": self._history,
            "presence": self._presence,
            "presence_stats": self._presence_stats,
            "refresh": self._refresh,
            "sub_refresh": self._sub_refresh,
            "ping": self._ping,
            "connect": self._connect,
        }
        hub.on_closed = self._closed

    # Frames and commands

    async def receive(self, client: Client, frame: str | bytes) -> None:
        """Carry out what is in a frame. Faults of the client close its connection, with a code that says why."""
        client.busy = True
        client.heard()
        try:
            for command in client.codec.decode(frame):
                await self.hub.wait_read(client)
                if client.over:
                    return
                client.admit(command)
                await self._handle(client, command)
                if client in self.subscriptions.postponed:
                    await self.subscriptions.catch_up(client)
        except InvalidFrame as error:
            logger.info("client %s sent no frame of commands: %s", client.id, error)
            client.disconnect(codes.INVALID_REQUEST, str(error))
        except Disconnected as error:
            client.disconnect(error.code, error.reason)
        finally:
            client.busy = False

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
                await self._answer(client, command.id, carry_out(client, command.id, request))
                return
        if command.id:  # without one it answers a ping
            client.refuse(command.id, Refused(codes.METHOD_NOT_FOUND))

    def _within_rate(self, client: Client) -> bool:
        """Whether one more command is within the rate. A client that goes on long after it wasn't is disconnected."""
        rate = self.limits.rate
        if rate is None:
            return True
        if client.bucket is None:
            client.bucket = TokenBucket(rate)
        if client.bucket.take(self.clock()):
            client.refusals = 0
            return True
        client.refusals += 1
        if client.refusals > rate.burst:
            raise Disconnected(codes.FLOOD)
        return False

    async def _answer(self, client: Client, id: int, command: Awaitable[None]) -> None:
        """Carry out a command; what goes wrong is the answer."""
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

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside the commands."""
        return self._tasks.spawn(work)

    async def settle(self, limit: float | None = None) -> int:
        """Wait until all that runs beside the commands is done; see `Tasks.settle`."""
        return await self._tasks.settle(limit)

    def cancel_calls(self) -> None:
        """Cancel calls of procedures, as nobody hears the answers any more."""
        for task in self._running_calls - {asyncio.current_task()}:
            task.cancel()

    def start_over(self) -> None:
        """Our event loop was closed before we were, and nothing goes on that belonged to it."""
        self._tasks.forget()
        self._running_calls.clear()
        self._calls.clear()
        self.subscriptions.start_over()
        self.leaving.start_over()

    # connect

    async def _connect(self, client: Client, id: int, request: messages.ConnectRequest) -> None:
        client.connecting()
        try:
            result = await self._accept(client, request)
        except BaseException:
            await self._undo_connect(client)
            raise
        client.connected(self.clock(), random.random())
        if client.leaving:
            client.peer_left()
            return
        client.reply(id, connect=result)
        subscriptions = list(client.subscriptions.values())
        for subscription in subscriptions:
            self.hub.start(client, subscription)
        self._end_after(client, client.ttl)
        for subscription in subscriptions:
            await self.subscriptions.announce(client, subscription)

    async def _undo_connect(self, client: Client) -> None:
        """A connect command was refused: nothing of it stays, as the next one may come from somebody else."""
        subscriptions = self._leave_rooms(client)
        self.hub.remove(client)
        if client.state is not State.CLOSED:
            client.connect_refused(self.clock())
            self.subscriptions.on_deadline_moved(client)
        await self.leaving.take_leave(client, subscriptions)

    async def _accept(self, client: Client, request: messages.ConnectRequest) -> messages.ConnectResult:
        client.name, client.version, client.token = request.name[:64], request.version[:64], request.token
        server_side = self._authenticate(client)
        data = await call(self.connect_hook, client, as_bytes(request.data), {})
        if client.state is State.CLOSED:
            raise Gone
        if client.ttl is not None and client.ttl <= 0:
            raise Refused(codes.TOKEN_EXPIRED)
        client.channels = client.channels  # checked once more: the hook may have changed the list itself
        self._introduce(client)
        subs = await self._put_into_channels(client, request.subs, server_side)
        subs |= await self._resume(client, request.subs)
        if any(subscription.lost for subscription in client.subscriptions.values()):
            raise Disconnected(codes.INSUFFICIENT_STATE)
        ping = client.timeouts.ping
        return messages.ConnectResult(
            client=client.id,
            version=VERSION,
            expires=client.ttl is not None,
            ttl=seconds(client.ttl),
            data=client.codec.payload(data),
            subs={name: result for name, result in subs.items() if name in client.subscriptions},
            ping=seconds(ping),
            pong=ping is not None,
        )

    async def _put_into_channels(
        self, client: Client, named: Mapping[str, SubscribeRequest], server_side: Mapping[str, ServerSide]
    ) -> dict[str, SubscribeResult]:
        """Subscribe a client that connects to where its token, or the connect hook, says that it belongs."""
        subs: dict[str, SubscribeResult] = {}
        for name in client.channels:
            granted = server_side.get(name, ServerSide())
            with contextlib.suppress(Unsubscribed):
                async with self.subscriptions.beginning(client, name, server_side=True) as subscription:
                    subscription.options = overridden(subscription.options, granted.override)
                    request = named.get(name, SubscribeRequest())
                    subs[name] = await self.subscriptions.enter(client, subscription, request, granted.info)
                    subs[name].data = client.codec.extra(granted.data)
        return subs

    async def _resume(self, client: Client, named: Mapping[str, SubscribeRequest]) -> dict[str, SubscribeResult]:
        """Subscribe a client again to the channels that it names, where the server had put it while it was here before.

        The client may name any: it gets those that it might subscribe to itself. Client libraries take leave of others.
        """
        subs: dict[str, SubscribeResult] = {}
        others = (name for name in named if name not in client.channels)
        for name in itertools.islice(others, self.limits.channels):
            with contextlib.suppress(Refused, Unsubscribed):
                async with self.subscriptions.beginning(client, name, server_side=True) as subscription:
                    data = await self._permit(client, subscription, None)
                    subs[name] = await self.subscriptions.enter(client, subscription, named[name])
                    subs[name].data = client.codec.payload(data)
        return subs

    def _authenticate(self, client: Client) -> dict[str, ServerSide]:
        """Look at the token of a client; returns what it says of channels."""
        if self.tokens is None or (not client.token and self.connect_hook is not None):
            return {}
        if not client.token:
            raise Refused(codes.UNAUTHORIZED)
        token = verify_connection(self.tokens, client.token)
        client.user, client.info, client.meta = token.user, decoded(token.info), token.meta
        client.channels = token.channels
        client.ttl = time_left(token.ends_at, self.wall_clock())
        return {name: ServerSide(*each) for name, each in token.channels.items()}

    async def _refresh(self, client: Client, id: int, request: messages.RefreshRequest) -> None:
        try:
            ttl = await self._refreshed(client, request.token)
        except Refused as refused:
            if refused.code in (codes.TOKEN_EXPIRED, codes.EXPIRED):
                # To client libraries an error would be final; after this they come back, with a new token.
                raise Disconnected(codes.CONNECTION_EXPIRED) from None
            raise
        client.token, client.ttl = request.token, ttl
        self._end_after(client, ttl)
        result = messages.RefreshResult(client.id, VERSION, ttl is not None, seconds(ttl))
        client.reply(id, refresh=result)

    async def _refreshed(self, client: Client, token: str) -> float | None:
        """For how long a new token is good."""
        if self.tokens is not None and client.token:
            verified = verify_connection(self.tokens, token)
            if verified.user != client.user:
                raise Disconnected(codes.INVALID_TOKEN, "the new token is for another user")
            return time_left(verified.ends_at, self.wall_clock())
        if self.refresh_hook is None:
            raise Refused(codes.NOT_AVAILABLE)
        said = self.refresh_hook(client, token)
        ttl = as_ttl("what the refresh hook returns", await said if inspect.isawaitable(said) else said)
        if ttl is not None and ttl <= 0:
            raise Refused(codes.TOKEN_EXPIRED)
        return ttl

    async def _sub_refresh(self, client: Client, id: int, request: messages.SubRefreshRequest) -> None:
        subscription = client.subscriptions.get(request.channel)
        if subscription is None:
            # Client libraries give up a subscription for an error that isn't temporary, and this one may just have
            # ended, to be renewed.
            raise Refused(codes.PERMISSION_DENIED, "not subscribed", temporary=True)
        if self.tokens is None:
            raise Refused(codes.NOT_AVAILABLE)
        try:
            token = verify_subscription(self.tokens, request.token, user=client.user, channel=request.channel)
            ttl = time_left(token.ends_at, self.wall_clock())
        except Refused as refused:
            if refused.code == codes.TOKEN_EXPIRED:
                await self.expire(client, subscription)
                raise Refused(codes.TOKEN_EXPIRED, temporary=True) from None
            raise
        self._end_subscription_after(client, subscription, ttl)
        client.reply(id, sub_refresh=messages.SubRefreshResult(ttl is not None, seconds(ttl)))

    async def expire(self, client: Client, subscription: Subscription) -> None:
        """End a subscription whose time is over, so that the client library begins it again, with a new token."""
        if subscription.server_side:  # only the server can begin it again, when the client connects
            client.disconnect(codes.SUBSCRIPTION_LAPSED)
        else:
            await self.subscriptions.unsubscribe(client, subscription.name, codes.SUBSCRIPTION_EXPIRED)

    def _end_after(self, client: Client, ttl: float | None) -> None:
        client.ends_at = None if ttl is None else self.clock() + ttl + client.timeouts.expired
        self.subscriptions.on_deadline_moved(client)

    def _end_subscription_after(self, client: Client, subscription: Subscription, ttl: float | None) -> None:
        subscription.ends_at = None if ttl is None else self.clock() + ttl + client.timeouts.expired
        self.subscriptions.on_deadline_moved(client)

    def _introduce(self, client: Client) -> None:
        client.shown = ClientInfo(client.user, client.id, None if client.info is None else encode(client.info))
        self.hub.add(client)

    # subscribe

    async def _subscribe(self, client: Client, id: int, request: SubscribeRequest) -> None:
        try:
            await self._join(client, id, request)
        except Unsubscribed as ended:
            client.reply(id, subscribe=SubscribeResult(was_recovering=request.recover))
            self.subscriptions.tell_end(client, request.channel, ended.code)

    async def _join(self, client: Client, id: int, request: SubscribeRequest) -> None:
        async with self.subscriptions.joining(client, request.channel) as subscription:
            _refuse_what_is_for_later(request)
            token = self._token_of(client, request)
            if token is not None:
                subscription.options = overridden(subscription.options, token.override)
            said = await self._permit(client, subscription, as_bytes(request.data), with_token=token is not None)
            data = client.codec.payload(said)
            result = await self.subscriptions.enter(
                client, subscription, request, None if token is None else token.info
            )
            ttl = None if token is None else time_left(token.ends_at, self.wall_clock())
            self._end_subscription_after(client, subscription, ttl)
            result.expires, result.ttl = ttl is not None, seconds(ttl)
            result.data = data
            client.reply(id, subscribe=result)

    def _token_of(self, client: Client, request: SubscribeRequest) -> SubscriptionToken | None:
        if self.tokens is None or not request.token:
            return None
        return verify_subscription(self.tokens, request.token, user=client.user, channel=request.channel)

    async def _permit(
        self, client: Client, subscription: Subscription, data: bytes | None, *, with_token: bool = False
    ) -> bytes | None:
        """Ask whether a client may subscribe; returns what it shall be told."""
        channel = subscription.channel
        who = channel.options.subscribe
        if not (self._may(who, client, subscription) or (with_token and who != "nobody")):
            raise Refused(codes.PERMISSION_DENIED)
        return await call(channel.subscribe_hook, client, data, subscription.parameters)

    # unsubscribe

    async def _unsubscribe(self, client: Client, id: int, request: messages.UnsubscribeRequest) -> None:
        subscription = client.subscriptions.get(request.channel)
        if subscription is not None:
            await self.subscriptions.end(client, subscription)
        client.reply(id, unsubscribe=messages.UnsubscribeResult())

    # publish

    async def _publish(self, client: Client, id: int, request: messages.PublishRequest) -> None:
        if request.type:
            raise Refused(codes.NOT_AVAILABLE, "only publications in streams are supported")
        await self.publish_as(client, request.channel, as_bytes(request.data) or b"")
        client.reply(id, publish=messages.PublishResult())

    async def publish_as(self, client: Client, name: str, data: bytes) -> None:
        """Publish what a client sent.

        Raises:
            Refused: if it may not.
        """
        channel, parameters, subscription = self._look_up(client, name)
        if not self._may(channel.options.publish, client, subscription):
            raise Refused(codes.PERMISSION_DENIED)
        if channel.options.rate is not None and not self._published.take(name, channel.options.rate, self.clock()):
            raise Refused(codes.TOO_MANY_REQUESTS)
        if not channel.options.binary:
            check_json(data)
        changed = await call(channel.publish_hook, client, data, parameters)
        if changed is not None and not channel.options.binary:
            check_returned(changed, channel)
        info = client.shown if subscription is None else subscription.info
        await self.publish(channel, name, Publication(data if changed is None else changed, info=info), by=client)

    async def publish(
        self,
        channel: Channel,
        name: str,
        publication: Publication,
        id: str | None = None,
        by: Client | None = None,
    ) -> StreamPosition:
        """Publish, once there is room for it where the channel makes publishers wait."""
        if channel.options.slow == "block":
            await self.hub.wait_writable(name, by)
        return await self.broker.publish(
            name, publication, size=channel.options.history, ttl=channel.options.ttl, id=id
        )

    # history and presence

    async def _history(self, client: Client, id: int, request: messages.HistoryRequest) -> None:
        channel = self._readable(client, request.channel)
        if not channel.options.history:
            raise Refused(codes.NOT_AVAILABLE)
        name, asked = request.channel, request.since
        if request.reverse and asked is not None and not asked.offset:
            raise Refused(codes.BAD_REQUEST, "nothing stands before offset 0: with reverse, since must be 1 or more")
        since = None if asked is None else await self.subscriptions.position(name, asked.offset, asked.epoch)
        most = self.limits.history
        limit = most if request.limit < 0 else min(request.limit, most)
        found = await self.broker.history(name, since=since, limit=limit, reverse=request.reverse)
        if since is not None and since.epoch != found.position.epoch:
            raise Refused(codes.UNRECOVERABLE_POSITION)
        client.reply(
            id,
            history=messages.HistoryResult(
                as_told(client, found.publications),
                found.position.epoch,
                found.position.offset,
            ),
        )

    async def _presence(self, client: Client, id: int, request: messages.PresenceRequest) -> None:
        self._readable(client, request.channel, presence=True)
        present = await self.presence.get(request.channel)
        shown = {name: client.codec.info(info) for name, info in present.items()}
        client.reply(id, presence=messages.PresenceResult(shown))

    async def _presence_stats(self, client: Client, id: int, request: messages.PresenceStatsRequest) -> None:
        self._readable(client, request.channel, presence=True)
        stats = await self.presence.stats(request.channel)
        client.reply(id, presence_stats=messages.PresenceStatsResult(stats.clients, stats.users))

    def _readable(self, client: Client, name: str, *, presence: bool = False) -> Channel:
        channel, _, subscription = self._look_up(client, name)
        if presence and not (channel.options if subscription is None else subscription.options).presence:
            raise Refused(codes.NOT_AVAILABLE)
        if not self._may(channel.options.read, client, subscription):
            raise Refused(codes.PERMISSION_DENIED)
        return channel

    # rpc, send, ping

    async def _rpc(self, client: Client, id: int, request: messages.RPCRequest) -> None:
        procedure = self.procedures.get(request.method)
        if procedure is None:
            raise Refused(codes.METHOD_NOT_FOUND)
        calling = self._call_procedure(client, id, procedure, as_bytes(request.data))
        running = self._calls.get(client, 0)
        if inspect.iscoroutinefunction(procedure.function) and running < self.limits.calls:
            self._calls[client] = running + 1
            task = self.spawn(self._call_beside(client, id, calling))
            self._running_calls.add(task)
            task.add_done_callback(self._running_calls.discard)
        else:
            await calling

    async def _call_beside(self, client: Client, id: int, calling: Awaitable[None]) -> None:
        try:
            await self._answer(client, id, calling)
        except Disconnected as error:
            client.disconnect(error.code, error.reason)
        finally:
            self._calls[client] -= 1
            if not self._calls[client]:
                del self._calls[client]

    async def _call_procedure(self, client: Client, id: int, procedure: Hook, data: bytes | None) -> None:
        result = encode(await procedure(client, data, {}))
        client.reply(id, rpc=messages.RPCResult(client.codec.payload(result)))

    async def _send(self, client: Client, id: int, request: messages.SendRequest) -> None:
        if self.message_hook is None:
            raise Disconnected(3508)
        await call(self.message_hook, client, as_bytes(request.data), {})

    async def _ping(self, client: Client, id: int, request: messages.Ping) -> None:
        client.reply(id, ping=messages.Ping())

    # Plain clients

    async def connect_plain(self, client: Client, name: str) -> None:
        """A plain client is there, and wants to be in a channel.

        Raises:
            Refused: if it may not.
        """
        client.connected(self.clock())
        self._introduce(client)
        client.busy = True
        try:
            async with self.subscriptions.joining(client, name) as subscription:
                await self._permit(client, subscription, None)
                await self.subscriptions.enter(client, subscription, SubscribeRequest())
        except Unsubscribed as ended:
            self.subscriptions.tell_end(client, name, ended.code)
        except Gone:
            pass
        finally:
            client.busy = False
        if client.leaving:
            client.peer_left()

    async def receive_plain(self, client: Client, name: str, codec: PlainCodec, message: str | bytes) -> None:
        """Publish what a plain client sent, or tell it why not."""
        client.busy = True
        try:
            await self.hub.wait_read(client)
            await self.publish_as(client, name, codec.parse(message))
        except Refused as refused:
            client.answer(PreparedMessage(f"[trunkline] {refused.message}"))
        except Disconnected as error:
            client.disconnect(error.code, error.reason)
        except Exception as error:
            logger.error("a message of client %s wasn't published", client.id, exc_info=error)
            client.answer(PreparedMessage(f"[trunkline] not sent: {codes.ERRORS[codes.INTERNAL][0]}"))
        finally:
            client.busy = False

    # The end of subscriptions and of clients

    def _closed(self, client: Client) -> None:
        subscriptions = self._leave_rooms(client)
        if client.was_connected and self.disconnect_hook is not None:
            self.spawn(self.leaving.see_off(client, subscriptions, self.disconnect_hook))
        else:
            self.leaving.begin(client, subscriptions)

    def _leave_rooms(self, client: Client) -> list[Subscription]:
        """Nothing more is delivered to a client. Returns the subscriptions that it had."""
        self.subscriptions.postponed.pop(client, None)
        subscriptions, client.subscriptions = list(client.subscriptions.values()), {}
        for subscription in subscriptions:
            self.hub.leave(client, subscription.name)
        return subscriptions

    # Permissions and hooks

    def _look_up(self, client: Client, name: str) -> tuple[Channel, dict[str, str], Subscription | None]:
        subscription = client.standing.get(name)
        if subscription is not None:
            return subscription.channel, subscription.parameters, subscription
        return *self.channels.get(name), None

    def _may(self, who: Who, client: Client, subscription: Subscription | None) -> bool:
        if who == "subscribers":
            return subscription is not None and subscription.info is not None
        return who == "anyone" or (who == "users" and client.user != "")


def _being_cancelled() -> bool:
    """Whether this task is to stop. Otherwise it was something that a hook waited for: the hook failed, no more."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _refuse_what_is_for_later(request: SubscribeRequest) -> None:
    if request.type:
        raise Refused(codes.NOT_AVAILABLE, "only subscriptions to streams are supported")
    if request.tf is not None:
        raise Refused(codes.NOT_AVAILABLE, "filters by tags aren't supported")


def seconds(ttl: float | None) -> int:
    """Whole seconds, as messages have them: at least one, as 0 would be none at all, and as many as 32 bits can say."""
    return 0 if ttl is None else max(1, math.floor(min(ttl, 2**32 - 1)))
