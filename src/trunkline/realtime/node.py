"""A node: the interface of `trunkline.realtime`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from trunkline.realtime import codes, control
from trunkline.realtime.brokers import Broker, History, broker_from_url
from trunkline.realtime.deadlines import Deadlines
from trunkline.realtime.doors.asgi import ASGIApplication, Authenticate, Origins
from trunkline.realtime.doors.memory import KnownUser, MemoryClient
from trunkline.realtime.doors.websocket import Server, ServerConnection, WebSocketDoor, WebSocketPeer, listen
from trunkline.realtime.home import Home
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.stats import Stats
from trunkline.realtime.limits import check_seconds
from trunkline.realtime.options import Limits, Timeouts
from trunkline.realtime.parts import Parts
from trunkline.realtime.presence import Presence, PresenceStats
from trunkline.realtime.program.declaring import Declaring
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition, as_text
from trunkline.realtime.running import Running
from trunkline.realtime.serving import Serving
from trunkline.realtime.wire.payloads import as_tags, encode, encode_json

if TYPE_CHECKING:
    from trunkline.realtime.tokens import Tokens
else:
    Tokens = Any  # the class needs PyJWT, which only programs with tokens import

__all__ = ["Realtime"]


class Realtime(Declaring):
    """Channels with subscribers, presence, history and recovery, for clients that speak the Centrifuge protocol.

    ::

        rt = Realtime()
        chat = rt.channel("chat:{room}", history=100, presence=True, publish="subscribers")

        async with rt, rt.serve("localhost", 8765) as server:
            await server.serve_forever()

    Args:
        store: where history is kept, as a URL or a `Broker`. `memory://` keeps it as long as the process lives. With
            `redis://HOST`, nodes that name the same server share everything.
        presence: where presence is kept; by default where the store keeps it, in memory unless several nodes share it.
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
        self.presence_store = self.broker.presence() if presence is None else presence
        self.limits = limits or Limits()
        self.timeouts = timeouts or Timeouts()
        self.limits.check()
        self.timeouts.check()
        if self.presence_store.ttl is not None:
            check_seconds("ttl of the presence", self.presence_store.ttl, positive=True)
        self._home = Home()
        self._deadlines = Deadlines(lambda client, now: self._commands.on_deadline(client, now), self._home.time)
        self._parts = parts = Parts(
            self.broker,
            self.presence_store,
            tokens,
            self.limits,
            check_thread=self._home.check_thread,
            watch=self._deadlines.watch,
            clock=self._home.time,
            wall_clock=time.time,
            stopwatch=time.perf_counter,
        )
        self._hub, self._commands = parts.hub, parts.commands
        self._channels, self._functions = parts.channels, parts.functions
        serving = Serving(parts.hub, self._deadlines, self.limits, self._home.time, self.timeouts.close)
        self._running = Running(
            self._home, parts, self.broker, self.presence_store, self._deadlines, serving, self.timeouts.close
        )
        self._websockets = WebSocketDoor(self._running, parts, serving, self.timeouts)
        self.websocket = ASGIApplication(self._websockets, self._running)

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
        await self._running.start()

    async def close(self) -> None:
        """Disconnect all clients, which connect again elsewhere, and close the broker.

        Commands, hooks, presence and the broker have `timeouts.close` seconds to bring to its end what they are at;
        then they are cancelled. Calls of procedures are cancelled at once, as no client is there to hear the answer.
        """
        await self._running.close()

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
        await self._websockets.serve_peer(WebSocketPeer(connection))

    async def plain(self, connection: ServerConnection, channel: str, *, user: str = "", info: Any = None) -> None:
        """Serve a client that speaks no protocol: it gets what is published in a channel, as text, and what it sends
        is published. Call it in a handler::

            async def room(websocket):
                await rt.plain(websocket, "chat:lobby")

        `Channel.to_plain` and `Channel.from_plain` change what such clients get and send. A client that may not
        subscribe is disconnected with close code 1008.

        Args:
            connection: the client.
            channel: name of the channel.
            user: id of the user, "" if anonymous.
            info: what others may know of the client.

        Raises:
            LookupError: if no channel of this name is declared.
            TypeError: if `user` isn't text, or `info` can't be JSON.
        """
        declared, name = self._channels.declared(channel)
        await self._websockets.serve_plain(WebSocketPeer(connection), declared, name, user, info)

    def serve(self, host: str | None = None, port: int | None = None, **kwargs: Any) -> Server:
        """Create a server for nothing else, like `trunkline.serve`, which has the client for browsers at /trunkline.js.

        Args:
            host: address or name to listen on; None for all interfaces.
            port: TCP port, 0 for any that is free.
            kwargs: as for `trunkline.serve`, such as `origins`, which says whose pages may connect.
        """
        return listen(self.handler, host, port, **kwargs)

    def asgi(self, *, origins: Origins = None, authenticate: Authenticate | None = None) -> ASGIApplication:
        """An ASGI application that serves clients of the protocol, for any server and framework::

            app = FastAPI()
            rt.asgi().mount(app, "/connection")

        `rt.websocket` is the same with the defaults: an endpoint for `WebSocketRoute` of Starlette and `URLRouter` of
        Django's Channels.

        Args:
            origins: whose pages may connect. None for pages of the same host, "*" for all pages, else as for
                `trunkline.serve`: strings, patterns for the whole header, None for clients that aren't pages.
            authenticate: coroutine function that gets an `HTTPConnection` of Starlette, with the headers, cookies and
                query of the request. It returns the id of the user ("" if anonymous), or a pair of it and what others
                may know of the client. Then the client needs no token. None refuses the client with status 401, and an
                `HTTPException` with its own status. It may have parameters that FastAPI resolves, such as `Depends(…)`,
                instead of the `HTTPConnection`, or besides it.

        Raises:
            ImportError: if there is `authenticate`, and no Starlette.
        """
        return ASGIApplication(self._websockets, self._running, origins=origins, authenticate=authenticate)

    def test_client(
        self,
        *,
        user: str | None = None,
        info: Any = None,
        token: str = "",
        data: Any = None,
        path: str = "/",
        headers: Mapping[str, str] | None = None,
        app: Any = None,
        timeout: float = 5,
    ) -> MemoryClient:
        """A client for tests, in this event loop, without a server and without a socket::

            async with rt, rt.test_client(user="ada") as ada:
                room = await ada.subscribe("chat:lobby")
                await room.publish("hello")
                await room.expect("hello")

        Args:
            user: id of the user, as if `authenticate` of `asgi` had returned it. None leaves that to the connect hook
                or the token.
            info: what others may know of this user.
            token: of the connect command.
            data: for the connect hook, None for nothing.
            path: of the request, perhaps with a query.
            headers: of the request.
            app: ASGI application that serves the client, such as one of FastAPI with `rt.asgi()` in it, or `rt.asgi()`
                with `authenticate`. None serves it as `rt.websocket` does.
            timeout: seconds of the loop's clock after which a call of the test fails that waits for the server.

        Raises:
            ValueError: if there is an application, and a user.
        """
        if user is not None and app is not None:
            raise ValueError("the application says who the user is: leave out user=, or app=")
        if app is None:
            app = self.websocket if user is None else KnownUser(self._websockets, self._running, (user, info))
        return MemoryClient(app, path=path, headers=headers or {}, token=token, data=data, timeout=timeout)

    # For the program

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
        declared, name = self._channels.declared(channel)
        data = encode(obj) if declared.options.binary else encode_json(obj)
        publication = Publication(data, key=as_text("key", key), tags=as_tags(tags))
        id = None if id is None else as_text("id", id)
        await self.start()
        return await self._parts.publisher.publish_for_program(declared, name, publication, id)

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

        Publications of one thread, one after the other, are in that order for all.

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
        """Read the publications of a channel that are kept; see `Broker.history`.

        Raises:
            LookupError: if no channel of this name is declared.
            BrokerError: if it can't be read.
        """
        _, name = self._channels.declared(channel)
        await self.start()
        return await self.broker.history(name, since=since, limit=limit, reverse=reverse)

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """The clients in a channel, by their ids.

        Raises:
            LookupError: if no channel of this name is declared.
        """
        _, name = self._channels.declared(channel)
        await self.start()
        return await self.presence_store.get(name)

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many clients, and distinct users, are in a channel.

        Raises:
            LookupError: if no channel of this name is declared.
        """
        _, name = self._channels.declared(channel)
        await self.start()
        return await self.presence_store.stats(name)

    async def subscribe(self, channel: str, *, user: str | None = None, client: str | None = None) -> None:
        """Subscribe the clients of a user, or one client, to a channel.

        Where a client is about to connect, or to subscribe to the channel itself, that comes to its end first. If one
        client of the user can't be subscribed, the others are nevertheless.

        Raises:
            LookupError: if no channel of this name is declared.
            Refused: if that can't be.
            TypeError: if neither `user` nor `client` is given.
        """
        _, channel = self._channels.declared(channel)
        await self._tell(control.Subscribe(channel=channel, user=user, client=client))

    async def unsubscribe(self, channel: str, *, user: str | None = None, client: str | None = None) -> None:
        """End the subscriptions of a user's clients, or of one client, to a channel.

        Later publications don't reach them. A client whose subscribe command waits, for a hook or the store, gets
        its answer, and is told the end then. A plain client is disconnected with code 1008.

        Raises:
            LookupError: if no channel of this name is declared.
            TypeError: if neither `user` nor `client` is given.
        """
        _, channel = self._channels.declared(channel)
        await self._tell(control.Unsubscribe(channel=channel, user=user, client=client))

    async def send(self, obj: Any, *, user: str | None = None, client: str | None = None) -> int:
        """Send a message outside of channels to the clients of a user, or to one client.

        A client that isn't connected doesn't get it later, and plain clients don't get it at all. If it mustn't get
        lost, publish in a channel with history that the user is subscribed to.

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
        return await self._tell(control.Send(data=encode_json(obj), user=user, client=client))

    async def disconnect(
        self,
        *,
        user: str | None = None,
        client: str | None = None,
        code: int = codes.FORCE_DISCONNECT,
        reason: str | None = None,
    ) -> None:
        """Close the connections of a user, or of one client.

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
        await self._tell(control.Disconnect(code=code, reason=reason, user=user, client=client))

    def clients(self) -> list[Client]:
        """The clients connected to this node. May be called by any thread."""
        return list(self._hub.clients.values())

    def stats(self) -> Stats:
        """The numbers of this node. May be called by any thread."""
        return self._hub.stats()

    async def _tell(self, order: control.Order) -> int:
        """Carry out an order on this node, then on the others. Returns how many clients it reached.

        Raises:
            Refused: if a client, of whichever node, can't have what the order says. Others have it nevertheless.
            TypeError: if the order concerns no client in particular.
        """
        self._home.check()
        answers = [await self._parts.orders.carry_out(order)]
        self._hub.pace.write()
        answers += (await self._running.control.tell(order)).values()
        for refusal in (answer.refusal for answer in answers if answer.refusal is not None):
            raise codes.Refused(refusal.code, refusal.message, refusal.temporary)
        return sum(answer.clients for answer in answers)
