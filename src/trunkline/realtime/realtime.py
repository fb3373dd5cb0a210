"""Rooms over connections: the interface of `trunkline.realtime`."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Self, TypeVar

from trunkline.asyncio.deadlines import clock_of
from trunkline.asyncio.server import Server, ServerConnection, serve
from trunkline.core.writer import PreparedMessage
from trunkline.frames import CloseCode
from trunkline.realtime import codes, messages
from trunkline.realtime.brokers import Broker, BrokerError, History, broker_from_url
from trunkline.realtime.browser import trunkline_js
from trunkline.realtime.channels import LONGEST_NAME, Channel, ChannelOptions, Channels, too_long
from trunkline.realtime.client import Client, State, Timeouts
from trunkline.realtime.codecs import Codec, codec_for, select_subprotocol
from trunkline.realtime.commands import Commands
from trunkline.realtime.deadlines import Deadlines
from trunkline.realtime.hooks import Hook, encode, only_one, takes
from trunkline.realtime.hub import Hub
from trunkline.realtime.limits import Rate, check_count, check_rate, check_seconds
from trunkline.realtime.payloads import as_tags, encode_json
from trunkline.realtime.presence import MemoryPresence, Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition, as_text
from trunkline.realtime.serving import Serving

if TYPE_CHECKING:
    from trunkline.realtime.tokens import Tokens
else:
    Tokens = Any  # the class needs PyJWT, which only programs with tokens import

__all__ = ["ChannelStats", "Limits", "Realtime", "Stats"]

logger = logging.getLogger("trunkline.realtime")

F = TypeVar("F", bound=Callable[..., Any])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may.

    Attributes:
        channels: subscriptions.
        history: publications that it may recover, or read at a time.
        queue: bytes that may wait for it when it reads slowly; up to twice as many where publishers wait for room.
            Answers to its commands don't count: its next command waits until it has read them.
        calls: `rpc` commands carried out at the same time.
        rate: of commands. What is above it is refused with error 111; a client that doesn't heed that is disconnected.
    """

    channels: int = 128
    history: int = 300
    queue: int = 1 << 20
    calls: int = 16
    rate: Rate | None = Rate(100, 1000)  # noqa: RUF009  # a tuple, which nobody can change

    def check(self) -> None:
        """Check that they make sense; `Realtime` does it.

        Raises:
            TypeError, ValueError: if a value doesn't.
        """
        for name in ("channels", "history", "queue", "calls"):
            check_count(name, getattr(self, name))
        check_rate("rate", self.rate)


@dataclasses.dataclass(frozen=True, slots=True)
class ChannelStats:
    """What happened in a channel since its first subscriber on this node came.

    Attributes:
        subscribers: clients in it.
        published: publications that arrived.
        delivered: times that one was sent to a client. What waits for a client that reads slowly isn't among them yet.
        dropped: times that one was dropped because a client read too slowly.
        slow: clients that were disconnected because they read too slowly.
    """

    subscribers: int
    published: int
    delivered: int
    dropped: int
    slow: int


@dataclasses.dataclass(frozen=True, slots=True)
class Stats:
    """What a node is doing.

    Attributes:
        clients: connected clients.
        users: distinct users among them.
        channels: by name, those that have subscribers.
    """

    clients: int
    users: int
    channels: dict[str, ChannelStats]


class Realtime:
    """Channels with subscribers, presence, history and recovery, for clients that speak the Centrifuge protocol.

    ::

        rt = Realtime()
        chat = rt.channel("chat:{room}", history=100, presence=True, publish="subscribers")

        async with rt, rt.serve("localhost", 8765) as server:
            await server.serve_forever()

    Args:
        store: where history is kept, as a URL or a `Broker`. `memory://` keeps it as long as the process lives.
        presence: where presence is kept; by default in memory.
        tokens: checks the tokens of clients, see `trunkline.realtime.tokens`. Unless there is a connect hook, they must
            have one.
        limits: what one client may.
        timeouts: for how long to wait for clients.

    Raises:
        TypeError, ValueError: if a limit or a timeout makes no sense.
    """

    def __init__(
        self,
        store: str | Broker = "memory://",
        *,
        presence: Presence | None = None,
        tokens: Tokens | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self.broker = broker_from_url(store) if isinstance(store, str) else store
        self.presence_store = MemoryPresence() if presence is None else presence
        self.limits = limits or Limits()
        self.timeouts = timeouts or Timeouts()
        self.limits.check()
        self.timeouts.check()
        if self.presence_store.ttl is not None:
            check_seconds("ttl of the presence", self.presence_store.ttl, positive=True)
        self._hub = Hub()
        self._home = self._hub.home
        self._channels = Channels()
        self._commands = Commands(self._hub, self._channels, self.broker, self.presence_store, self.limits, now)
        self._commands.tokens = tokens
        self._deadlines = Deadlines(self._on_deadline, now)
        self._commands.subscriptions.on_deadline_moved = self._deadlines.watch
        self._starting: asyncio.Task[None] | None = None
        self._serving = Serving(self._deadlines, self.timeouts.close)
        self._failed = ""  # why it couldn't be started

    # Declarations

    def channel(self, pattern: str, **options: Any) -> Channel:
        """Declare the channels of a pattern, such as "chat:{room}"; see `ChannelOptions` for what can be said of them.

        Args:
            pattern: text with names of parameters in braces, each standing for one character or more other than ":".
            options: attributes of `ChannelOptions`.

        Returns:
            The channel: a decorator for the function that decides who may subscribe.

        Of several patterns that match the name of a channel, the one with the most text of its own counts, in whichever
        order they are declared: "chat:staff" before "chat:{room}".

        Raises:
            ValueError: if the pattern is malformed, or matches the same names as one that is declared already, or an
                option makes no sense, such as subscribe="token" without `tokens`.
            TypeError: if an option is unknown.
        """
        chosen = ChannelOptions(**options)
        if chosen.subscribe == "token" and self._commands.tokens is None:
            raise ValueError(f"{pattern!r} has subscribe='token', but nothing checks tokens: use Realtime(tokens=...)")
        return self._channels.declare(pattern, chosen)

    def on_connect(self, function: F) -> F:
        """Call a function, sync or async, when a client connects.

        It gets the client, and, if it has one more parameter, what the client sent along. It may set `client.user`,
        `client.info` and `client.channels`, raise `Refused` or `Disconnected`, and returns what the client shall be
        told, None for nothing.

        Raises:
            TypeError: if the function takes other arguments. So do the others here.
            ValueError: if there is such a function already. So do the others here.
        """
        only_one("on_connect", self._commands.connect_hook)
        self._commands.connect_hook = Hook(function)
        return function

    def on_message(self, function: F) -> F:
        """Call a function, sync or async, with a client and a message that it sent outside of channels."""
        only_one("on_message", self._commands.message_hook)
        self._commands.message_hook = Hook(function)
        return function

    def on_disconnect(self, function: F) -> F:
        """Call a function, sync or async, with a client that was connected and is no more."""
        only_one("on_disconnect", self._commands.disconnect_hook)
        self._commands.disconnect_hook = Hook(function, sent=False)
        return function

    def on_refresh(self, function: F) -> F:
        """Call a function, sync or async, with a client and the new token that it sent, before `client.ttl` is over.

        It returns the seconds until the next time, None for never, or raises `Refused` or `Disconnected`. Without any
        time left, or with `Refused` 109 or 110, the client is disconnected with 3005 and comes back with another token.
        Not needed for the tokens that `Realtime` was given `tokens` for.
        """
        only_one("on_refresh", self._commands.refresh_hook)
        takes(function, "a client", "a token")
        self._commands.refresh_hook = function
        return function

    def rpc(self, name: str) -> Callable[[F], F]:
        """Let clients call a function, sync or async. It gets the client, and the data of the call; what it returns is
        the result.

        Args:
            name: of the method, as clients call it.
        """

        def register(function: F) -> F:
            only_one(f"rpc {name!r}", self._commands.procedures.get(name))
            self._commands.procedures[name] = Hook(function)
            return function

        return register

    # Serving

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop in which it was started, None while it isn't. Its coroutines run in no other."""
        return self._home.loop

    async def start(self) -> None:
        """Start the broker. The first connection and the first call do it, too.

        Raises:
            BrokerError: if that fails.
            RuntimeError: if it was started in another event loop, as all coroutines say then. From other threads,
                `publish_sync` publishes, and `asyncio.run_coroutine_threadsafe(rt.disconnect(...), rt.loop)` does the
                rest.
        """
        if self._home.lost:
            self._start_over()
        self._home.check()
        starting = self._starting
        if starting is None:
            self._home.enter()
            starting = self._starting = asyncio.get_running_loop().create_task(self._start())
        if not starting.done():
            await asyncio.shield(starting)

    def _start_over(self) -> None:
        """Our event loop was closed before we were, and nothing goes on that belonged to it."""
        self._starting = None
        self._serving.start_over()
        self._commands.start_over()
        self._deadlines.close()
        self._home.leave()

    async def _start(self) -> None:
        """Start what can fail. After a failure, the next call tries again."""
        try:
            await self.broker.start(self._hub)
            try:
                await self.presence_store.start()
            except BaseException:
                await self.broker.close()
                raise
        except BaseException:
            self._starting = None
            raise
        self._failed = ""
        self._commands.attendance.start()

    async def close(self) -> None:
        """Disconnect all clients, which connect again elsewhere, and close the broker.

        Commands, hooks, presence and the broker have `timeouts.close` seconds to bring to its end what they are at;
        then they are cancelled. Calls of procedures are cancelled at once, as nobody is there to hear the answer.
        """
        self._home.check()
        try:
            await self._serving.disconnect_all()
            self._commands.cancel_calls()
            cancelled = await self._commands.settle(self.timeouts.close)
            if cancelled:
                logger.warning("%d hooks and the like took longer than %g s: cancelled", cancelled, self.timeouts.close)
        finally:
            await self._stop()
            self._serving.reopen()
            self._home.leave()

    async def _stop(self) -> None:
        self._deadlines.close()
        self._commands.attendance.stop()
        starting, self._starting = self._starting, None
        if starting is None:
            return
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
        try:
            await self.presence_store.close()
        finally:
            await self.broker.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    async def handler(self, connection: ServerConnection) -> None:
        """Serve a client; a handler for `trunkline.serve` and for routes.

        Pings of the protocol take the place of WebSocket pings, unless `Timeouts(ping=None)` switches them off.

        The server has to agree on the encoding: `serve(rt.handler, select_subprotocol=select_subprotocol)`.
        """
        try:
            await self.start()
        except BrokerError as error:
            self._report(error)
            connection.start_closing(codes.SERVER_ERROR, codes.DISCONNECTS[codes.SERVER_ERROR])
            return
        assert connection.request is not None, "the connection is open"
        codec = codec_for(connection.subprotocol, connection.request.path)
        client = self._new_client(connection, codec, self.timeouts)
        connection.farewell = codes.SHUTDOWN, codes.DISCONNECTS[codes.SHUTDOWN]
        if self.timeouts.ping is not None and connection.keepalive_task is not None:
            connection.keepalive_task.cancel()  # one heartbeat is enough, and a client may answer this one only
        receive = self._commands.receive
        async with self._serving.serve(client):
            async for frame in connection:
                await receive(client, frame)
                if client.over:
                    break

    def _report(self, error: BrokerError) -> None:
        """Log why clients can't be served, once."""
        if str(error) != self._failed:
            self._failed = str(error)
            logger.error("clients are turned away until it can be started: %s", error)

    async def plain(self, connection: ServerConnection, channel: str, *, user: str = "", info: Any = None) -> None:
        """Serve a client that speaks no protocol: it gets what is published in a channel, as text, and what it sends
        is published. Call it in a handler::

            async def room(websocket):
                await rt.plain(websocket, "chat:lobby")

        `Channel.to_plain` and `Channel.from_plain` change what such clients get and send. Who may not subscribe is
        disconnected with close code 1008.

        Args:
            connection: the client.
            channel: name of the channel.
            user: id of the user, "" if anonymous.
            info: what others may know of the client.

        Raises:
            LookupError: if no channel of this name is declared.
            TypeError: if `user` isn't text, or `info` can't be JSON.
        """
        await self.start()
        plain = self._declared(channel)[0].plain
        client = self._new_client(connection, plain, Timeouts(ping=None))
        async with self._serving.serve(client):
            try:
                client.user, client.info = user, info
                await self._commands.connect_plain(client, channel)
                async for message in connection:
                    await self._commands.receive_plain(client, channel, plain, message)
            except codes.Refused as refused:
                connection.start_closing(CloseCode.POLICY_VIOLATION, str(refused))
            except codes.Disconnected as error:
                client.disconnect(error.code, error.reason)

    def _new_client(self, connection: ServerConnection, codec: Codec, timeouts: Timeouts) -> Client:
        client = Client(connection, codec, self._hub, now(), timeouts=timeouts, queue_limit=self.limits.queue)
        self._deadlines.watch(client)
        connection.on_closing = client.peer_left
        if not connection.open:
            client.peer_left()
        return client

    def serve(self, host: str | None = None, port: int | None = None, **kwargs: Any) -> Server:
        """Create a server for nothing else, like `trunkline.serve`, which has the client for browsers at /trunkline.js.

        Args:
            host: address or name to listen on; None for all interfaces.
            port: TCP port, 0 for any that is free.
            kwargs: as for `trunkline.serve`, such as `origins`, which says whose pages may connect.
        """
        kwargs.setdefault("select_subprotocol", select_subprotocol)
        kwargs.setdefault("process_request", trunkline_js)
        return serve(self.handler, host, port, **kwargs)

    def _on_deadline(self, client: Client, now: float) -> None:
        for subscription in client.on_deadline(now):
            subscription.ends_at = None
            self._commands.spawn(self._commands.expire(client, subscription))

    # What the program does

    async def publish(
        self, channel: str, obj: Any, *, key: str = "", id: str | None = None, tags: dict[str, str] | None = None
    ) -> StreamPosition:
        """Publish in a channel.

        Args:
            channel: its name.
            obj: what to publish: anything that can be JSON, or `bytes` that are JSON already (or anything, in a channel
                with `binary`).
            key: what this is the newest state of, for channels that conflate.
            id: publishing a second time with the same id, within five minutes, has no effect. Only with history.
            tags: what to say about it besides.

        Returns:
            Where it stands in the history.

        Raises:
            LookupError: if no channel of this name is declared.
            TypeError: if `obj` can't be JSON, or `key`, `id` or a tag isn't text.
            ValueError: if bytes aren't JSON, there is an id but no history, or text can't be sent.
            BrokerError: if the store doesn't take it.
        """
        declared, name = self._declared(channel)
        data = encode(obj) if declared.options.binary else encode_json(obj)
        publication = Publication(data, key=as_text("key", key), tags=as_tags(tags))
        id = None if id is None else as_text("id", id)
        await self.start()
        return await self._commands.publish(declared, name, publication, id)

    def publish_sync(
        self,
        channel: str,
        obj: Any,
        *,
        key: str = "",
        id: str | None = None,
        tags: dict[str, str] | None = None,
        timeout: float | None = None,
    ) -> StreamPosition:
        """Publish from another thread, and wait until that is done: for threads, and functions that aren't coroutines.

        What one thread publishes, one after the other, is in that order for all.

        Args:
            channel: its name.
            obj: as for `publish`, as are `key`, `id` and `tags`.
            timeout: seconds to wait at most, None for as long as it takes.

        Returns:
            Where it stands in the history.

        Raises:
            RuntimeError: if this is the thread of the event loop, which has `publish`; or if this `Realtime` isn't
                started, or was closed meanwhile.
            TimeoutError: if it isn't done in time; perhaps it will be.
            LookupError, TypeError, ValueError, BrokerError: as `publish` does.
        """
        return self._home.wait(lambda: self.publish(channel, obj, key=key, id=id, tags=tags), timeout)

    async def history(
        self, channel: str, *, since: StreamPosition | None = None, limit: int | None = None, reverse: bool = False
    ) -> History:
        """What was published in a channel, as far as it is kept; see `Broker.history`.

        Raises:
            LookupError: if no channel of this name is declared.
            BrokerError: if it can't be read.
        """
        _, name = self._declared(channel)
        await self.start()
        return await self.broker.history(name, since=since, limit=limit, reverse=reverse)

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """Who is in a channel, by the id of the client.

        Raises:
            LookupError: if no channel of this name is declared.
        """
        _, name = self._declared(channel)
        await self.start()
        return await self.presence_store.get(name)

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many clients, and distinct users, are in a channel.

        Raises:
            LookupError: if no channel of this name is declared.
        """
        _, name = self._declared(channel)
        await self.start()
        return await self.presence_store.stats(name)

    async def subscribe(self, channel: str, *, user: str | None = None, client: str | None = None) -> None:
        """Subscribe the clients of a user on this node, or one client, to a channel.

        Where a client is about to connect, or to subscribe to the channel itself, that comes to its end first.

        Raises:
            LookupError: if no channel of this name is declared.
            Refused: if that can't be.
            TypeError: if neither `user` nor `client` is given.
        """
        _, channel = self._declared(channel)
        await self._for_each(user, client, lambda found: self._commands.subscriptions.subscribe(found, channel))

    async def unsubscribe(self, channel: str, *, user: str | None = None, client: str | None = None) -> None:
        """End the subscriptions of a user's clients on this node, or of one client, to a channel.

        What is published from now on doesn't reach them. A client whose subscribe command waits, for a hook or the
        store, gets its answer, and is told the end then. A plain client is disconnected with code 1008.

        Raises:
            LookupError: if no channel of this name is declared.
            TypeError: if neither `user` nor `client` is given.
        """
        _, channel = self._declared(channel)
        await self._for_each(user, client, lambda found: self._commands.subscriptions.unsubscribe(found, channel))

    async def send(self, obj: Any, *, user: str | None = None, client: str | None = None) -> int:
        """Send a message outside of channels to the clients of a user on this node, or to one client.

        Who isn't connected doesn't get it later, and plain clients don't get it at all; publish in a channel with
        history that the user is subscribed to if it mustn't get lost.

        Args:
            obj: the message: anything that can be JSON, or `bytes` that are JSON already.
            user: id of the user.
            client: id of the client.

        Returns:
            How many clients it went to.

        Raises:
            TypeError: if neither `user` nor `client` is given, or `obj` can't be JSON.
            ValueError: if bytes aren't JSON.
        """
        await self.start()
        data = encode_json(obj)
        frames: dict[Codec, PreparedMessage] = {}
        found = [each for each in self._find(user, client) if each.state is State.CONNECTED and each.codec.events]
        for each in found:
            if each.codec not in frames:
                push = messages.Push(message=messages.Message(each.codec.payload(data)))
                frames[each.codec] = each.codec.encode([messages.Reply(push=push)])
            each.send_nowait(frames[each.codec])
        return len(found)

    async def disconnect(
        self,
        *,
        user: str | None = None,
        client: str | None = None,
        code: int = codes.FORCE_DISCONNECT,
        reason: str | None = None,
    ) -> None:
        """Close the connections of a user on this node, or of one client.

        Args:
            user: id of the user.
            client: id of the client.
            code: a close code: with 3503 client libraries stay away, with 3011 they come back; see `codes.DISCONNECTS`.
            reason: at most 123 bytes in UTF-8.

        Raises:
            TypeError: if neither `user` nor `client` is given, `code` isn't a number, or `reason` isn't text.
            ValueError: if the code or the reason can't be sent.
        """
        codes.reason_for(code, reason)  # raises before a connection is closed

        async def disconnect(found: Client) -> None:
            found.disconnect(code, reason)

        await self._for_each(user, client, disconnect)

    def clients(self) -> list[Client]:
        """The clients connected to this node. May be called by any thread."""
        return list(self._hub.clients.values())

    def stats(self) -> Stats:
        """What this node is doing. May be called by any thread."""
        return Stats(
            len(self._hub.clients),
            len(self._hub.by_user),
            {
                name: ChannelStats(len(room), room.published, room.delivered, room.dropped, room.slow)
                for name, room in list(self._hub.rooms.items())
            },
        )

    async def _for_each(self, user: str | None, client: str | None, act: Callable[[Client], Awaitable[None]]) -> None:
        self._home.check()
        for found in self._find(user, client):
            await act(found)

    def _find(self, user: str | None, client: str | None) -> list[Client]:
        if user is None and client is None:
            raise TypeError("say who: give user or client")
        return self._hub.find(None if user is None else as_text("user", user), client)

    def _declared(self, channel: str) -> tuple[Channel, str]:
        """What is declared for a channel, and its name.

        Raises:
            LookupError: if nothing is.
            TypeError: if the name isn't text.
            ValueError: if it is text that can't be sent.
        """
        name = as_text("channel", channel)
        found = self._channels.find(name)
        if found is not None:
            return found[0], name
        if len(name) > LONGEST_NAME:
            raise LookupError(too_long(name))
        raise LookupError(f"no channel is declared whose pattern matches {name!r}: declare one with channel()")


def now() -> float:
    """The time, as connections on the running loop know it."""
    return clock_of(asyncio.get_running_loop())()
