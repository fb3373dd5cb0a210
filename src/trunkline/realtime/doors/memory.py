"""The door for tests: clients of rooms in the process of the program, without a server and without a socket.

A `MemoryClient` plays both the ASGI server and the client of an ASGI application. So its commands take the way of real
ones: frames of JSON, limits, hooks, the store.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, overload
from urllib.parse import quote, unquote

import msgspec

from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidStatus
from trunkline.frames import CloseCode
from trunkline.http11 import Response
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.doors.asgi import ASGIApplication
from trunkline.realtime.doors.websocket import WebSocketDoor
from trunkline.realtime.presence.base import PresenceStats
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition
from trunkline.realtime.running import Running
from trunkline.realtime.wire import messages
from trunkline.realtime.wire.messages import Command, Data, Push, Reply, as_bytes
from trunkline.realtime.wire.payloads import encode_json, typed

__all__ = ["KnownUser", "MemoryClient", "MemorySubscription"]

T = TypeVar("T")
Item = TypeVar("Item")
Event = dict[str, Any]

PONG: Final = "{}"  # the answer to a ping of the server

_replies = msgspec.json.Decoder(Reply)
_commands = msgspec.json.Encoder()


class KnownUser(ASGIApplication):
    """Serves a client whose user is known, as if `authenticate` had returned it."""

    def __init__(self, door: WebSocketDoor, running: Running, identity: tuple[str, Any]) -> None:
        super().__init__(door, running)
        self._identity = identity

    async def _admit(self, scope: Any) -> tuple[tuple[str, Any], None]:
        return self._identity, None


class MemoryClient:
    """A client of rooms for tests, made by `Realtime.test_client`. `async with` connects and disconnects it.

    A call returns when the server has answered. Pushes of the server are kept, in their order, until the test asks for
    them. A test that waits for a push that doesn't come fails after `timeout` seconds of the event loop's clock.

    Args:
        app: ASGI application that serves it.
        path: of the request, perhaps with a query.
        headers: of the request.
        token: of the connect command.
        data: of the connect command, None for nothing.
        timeout: seconds to wait for anything.

    Attributes:
        id: of the connection, as the server says.
        data: answer of the connect hook, None if nothing.
        subscriptions: by channel, also those that the server began.
        answers_pings: whether it answers pings of the server, as client libraries do; True by default.
        closed: close code and reason once the connection is closed, None before.
    """

    def __init__(
        self, app: Any, *, path: str, headers: Mapping[str, str], token: str, data: Any, timeout: float
    ) -> None:
        self.id = ""
        self.data: Any = None
        self.subscriptions: dict[str, MemorySubscription[Any]] = {}
        self.answers_pings = True
        self.closed: tuple[int, str] | None = None
        self.timeout = timeout
        self._app = app
        self._scope = _scope(path, headers)
        self._request = messages.ConnectRequest(token=token, data=_payload(data))
        self._said: asyncio.Queue[Event] = asyncio.Queue()
        self._news = asyncio.Event()
        self._replies: dict[int, Reply] = {}
        self._then: dict[int, Callable[[Reply], None]] = {}
        self._messages: collections.deque[Data] = collections.deque()
        self._number = 0
        self._accepted = False
        self._refusal = Response(403, "Forbidden", Headers())  # if the application closes before it accepts
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<MemoryClient {self.id or 'new'}{'' if self.closed is None else f' closed with {self.closed}'}>"

    # The connection

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.disconnect()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.disconnect()
        assert self._task is not None, "it was connected"
        if kind is None and not self._task.cancelled():
            self._task.result()  # raises what the application raised

    async def connect(self) -> None:
        """Connect. `async with` does it.

        Raises:
            InvalidStatus: if the application refuses the connection.
            Refused, Disconnected: if the connect hook does, or the token isn't valid.
        """
        self._said.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.get_running_loop().create_task(self._app(self._scope, self._said.get, self._take))
        self._task.add_done_callback(lambda task: self._news.set())
        await self.wait_for(lambda: self._accepted or None, "the answer to the request")
        await self._do(self._connected, connect=self._request)

    def _connected(self, reply: Reply) -> None:
        assert reply.connect is not None, "it is the answer to a connect command"
        self.id = reply.connect.client
        self.data = _value(reply.connect.data)
        for channel, result in reply.connect.subs.items():
            self.subscriptions[channel] = MemorySubscription(self, channel, Any, result)

    async def disconnect(self) -> None:
        """Close the connection with code 1000, and wait until the server is done with the client."""
        if self.closed is None:
            self._close(CloseCode.NORMAL_CLOSURE, "")
        if self._task is not None:
            await asyncio.wait([self._task], timeout=self.timeout)
            self._task.cancel()

    def cut(self) -> None:
        """Cut the connection, as a network does: the server sees code 1006. It returns at once."""
        if self.closed is None:
            self._close(CloseCode.ABNORMAL_CLOSURE, "")

    async def disconnected(self) -> tuple[int, str]:
        """Wait until the server closes the connection. Returns the close code and the reason."""
        return await self.wait_for(lambda: self.closed, "the end of the connection")

    def _close(self, code: int, reason: str) -> None:
        self.closed = int(code), reason
        self._said.put_nowait({"type": "websocket.disconnect", "code": int(code), "reason": reason})
        self._news.set()

    # Commands

    @overload
    async def subscribe(
        self, channel: str, type: type[T], *, data: Any = None, token: str = "", since: StreamPosition | None = None
    ) -> MemorySubscription[T]: ...
    @overload
    async def subscribe(
        self, channel: str, type: Any = Any, *, data: Any = None, token: str = "", since: StreamPosition | None = None
    ) -> MemorySubscription[Any]: ...
    async def subscribe(
        self, channel: str, type: Any = Any, *, data: Any = None, token: str = "", since: StreamPosition | None = None
    ) -> MemorySubscription[Any]:
        """Subscribe.

        Args:
            channel: its name.
            type: of the messages: any that msgspec knows, or a model of pydantic.
            data: for the function that decides, None for nothing.
            token: of the subscription.
            since: the position after which publications are missing; they come first. None for a new subscription.

        Raises:
            Refused: if the server refuses. So do all commands.
            Disconnected: if the connection is closed. So do all commands.
        """
        request = messages.SubscribeRequest(channel=channel, token=token, data=_payload(data))
        if since is not None:
            request.recover, request.offset, request.epoch = True, since.offset, since.epoch

        def subscribed(reply: Reply) -> None:
            assert reply.subscribe is not None, "it is the answer to a subscribe command"
            self.subscriptions[channel] = MemorySubscription(self, channel, type, reply.subscribe)

        await self._do(subscribed, subscribe=request)
        return self.subscriptions[channel]

    async def unsubscribe(self, channel: str) -> None:
        """End a subscription."""
        await self._do(unsubscribe=messages.UnsubscribeRequest(channel))
        self.subscriptions.pop(channel, None)

    async def publish(self, channel: str, obj: Any) -> None:
        """Publish in a channel anything that can be JSON, or `bytes` that are JSON already."""
        await self._do(publish=messages.PublishRequest(channel, _payload(obj)))

    async def call(self, method: str, obj: Any = None, type: Any = Any) -> Any:
        """Call a function that `Realtime.rpc` has registered. Returns its result, as a value of `type`."""
        result = (await self._do(rpc=messages.RPCRequest(_payload(obj), method))).rpc
        assert result is not None, "it is the answer to an rpc command"
        return _value(result.data, type)

    async def send(self, obj: Any) -> None:
        """Send a message outside of channels, for `Realtime.on_message`. Returns when the server has had its turn."""
        self._say(Command(send=messages.SendRequest(_payload(obj))))
        await self.synchronize()

    async def refresh(self, token: str) -> None:
        """Send a new token."""
        await self._do(refresh=messages.RefreshRequest(token))

    async def history(
        self, channel: str, *, since: StreamPosition | None = None, limit: int = -1, reverse: bool = False
    ) -> list[Publication]:
        """Read the publications of a channel that are kept: at most `limit`, all if it is negative."""
        position = None if since is None else messages.StreamPosition(since.offset, since.epoch)
        result = (await self._do(history=messages.HistoryRequest(channel, limit, position, reverse))).history
        assert result is not None, "it is the answer to a history command"
        return [_publication(each) for each in result.publications]

    async def presence(self, channel: str) -> dict[str, ClientInfo]:
        """The clients in a channel, by their ids."""
        result = (await self._do(presence=messages.PresenceRequest(channel))).presence
        assert result is not None, "it is the answer to a presence command"
        return {client: _info(info) for client, info in result.presence.items()}

    async def presence_stats(self, channel: str) -> PresenceStats:
        """How many clients, and distinct users, are in a channel."""
        result = (await self._do(presence_stats=messages.PresenceStatsRequest(channel))).presence_stats
        assert result is not None, "it is the answer to a presence_stats command"
        return PresenceStats(result.num_clients, result.num_users)

    async def synchronize(self) -> None:
        """Wait until all is here that the server sent before it answers this."""
        await self._do(ping=messages.Ping())

    async def _do(self, then: Callable[[Reply], None] | None = None, /, **request: Any) -> Reply:
        """Say a command, and wait for its answer.

        Args:
            then: called with the result before anything else that the server has sent is read.
            request: by the name of the command.
        """
        self._number += 1
        number = self._number
        [name] = request
        if then is not None:
            self._then[number] = then
        self._say(Command(id=number, **request))
        reply = await self.wait_for(lambda: self._replies.pop(number, None), f"the answer to the {name} command")
        if reply.error is not None:
            raise Refused(reply.error.code, reply.error.message, reply.error.temporary)
        return reply

    def _say(self, command: Command) -> None:
        if self.closed is None:
            self._said.put_nowait({"type": "websocket.receive", "text": _commands.encode(command).decode()})

    # Messages outside of channels

    async def message(self, type: Any = Any) -> Any:
        """The next message that the server sends outside of channels, as a value of `type`."""
        queue = self._messages
        return _value(await self.wait_for(lambda: queue.popleft() if queue else None, "a message"), type)

    # Waiting

    async def wait_for(self, find: Callable[[], T | None], what: str) -> T:
        """Wait until a function returns something other than None, for as long as the connection is open.

        Args:
            find: called whenever the server has sent something.
            what: the thing that it returns, for the error.

        Raises:
            AssertionError: if that takes more than `timeout` seconds.
            Disconnected: if the connection is closed.
        """
        try:
            async with asyncio.timeout(self.timeout):
                while (value := find()) is None:
                    self._check_open()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} didn't come within {self.timeout:g} s") from None
        return value

    def _check_open(self) -> None:
        if self._task is None:
            raise RuntimeError("the client isn't connected: use `async with rt.test_client() as client`")
        if self._task.done() and not self._task.cancelled():
            self._task.result()  # raises what the application raised
        if self.closed is None and not self._task.done():
            return
        if not self._accepted:
            raise InvalidStatus(self._refusal)
        if self.closed is None:
            raise ConnectionAbortedError("the application returned, and didn't close the connection")
        raise Disconnected(*self.closed)

    # The server's side

    async def _take(self, event: Event) -> None:
        """`send` of ASGI."""
        match event["type"]:
            case "websocket.accept":
                self._accepted = True
            case "websocket.send":
                self._read(event.get("text") or event["bytes"])
            case "websocket.close" if self.closed is None:
                self._close(event.get("code") or CloseCode.NORMAL_CLOSURE, event.get("reason") or "")
            case "websocket.http.response.start":
                self._refusal = Response(event["status"], "", _headers(event.get("headers") or ()))
            case "websocket.http.response.body":
                self._refusal.body += event.get("body", b"")
                if not event.get("more_body", False):
                    self._close(CloseCode.ABNORMAL_CLOSURE, "")
        self._news.set()

    def _read(self, frame: str | bytes) -> None:
        for reply in _replies.decode_lines(frame):
            if reply.id:
                self._replies[reply.id] = reply
                then = self._then.pop(reply.id, None)
                if then is not None and reply.error is None:
                    then(reply)
            elif reply.push is not None:
                self._take_push(reply.push)
            elif self.answers_pings:
                self._said.put_nowait({"type": "websocket.receive", "text": PONG})

    def _take_push(self, push: Push) -> None:
        if push.message is not None:
            self._messages.append(push.message.data)
        elif push.subscribe is not None:
            began = push.subscribe
            result = messages.SubscribeResult(epoch=began.epoch, offset=began.offset, data=began.data)
            self.subscriptions[push.channel] = MemorySubscription(self, push.channel, Any, result)
        elif push.channel in self.subscriptions:
            self.subscriptions[push.channel].take(push)


class MemorySubscription(Generic[T]):
    """A subscription of a `MemoryClient`. Each kind of push waits in a queue of its own.

    Attributes:
        client: the subscriber.
        channel: its name.
        type: of the messages.
        data: answer of the function that decides, None if nothing.
        position: of the newest publication that came; give it to `subscribe(since=)`.
        recovered: whether nothing is missing since the position that the client gave.
        ended: code and reason once the server has ended the subscription, None before.
    """

    def __init__(self, client: MemoryClient, channel: str, type: Any, result: messages.SubscribeResult) -> None:
        self.client = client
        self.channel = channel
        self.type = type
        self.data = _value(result.data)
        self.recovered = result.recovered
        self.position = StreamPosition(result.offset, result.epoch)
        self.ended: tuple[int, str] | None = None
        self._publications = collections.deque(_publication(each) for each in result.publications)
        self._joins: collections.deque[ClientInfo] = collections.deque()
        self._leaves: collections.deque[ClientInfo] = collections.deque()

    def __repr__(self) -> str:
        return f"<MemorySubscription {self.channel}{'' if self.ended is None else f' ended with {self.ended}'}>"

    async def receive(self) -> T:
        """The message of the next publication, as a value of `type`."""
        value: T = _value((await self.publication()).data, self.type)
        return value

    async def publication(self) -> Publication:
        """The next publication, with its offset, tags and publisher."""
        return await self._next(self._publications, "a publication")

    async def expect(self, obj: Any) -> Publication:
        """Check that the next publication has this message, compared as JSON. Returns the publication.

        Raises:
            AssertionError: if it has another one.
        """
        publication = await self.publication()
        message, expected = _value(publication.data), msgspec.json.decode(encode_json(obj))
        assert message == expected, f"{self.channel!r} brought {message!r}, not {expected!r}"
        return publication

    async def expect_nothing(self) -> None:
        """Check that the server has sent no publication that the test hasn't asked for.

        Raises:
            AssertionError: if there is one.
        """
        await self.client.synchronize()
        rest = [_value(each.data) for each in self._publications]
        assert not rest, f"{self.channel!r} brought {rest!r}, not nothing"

    async def joined(self) -> ClientInfo:
        """The next client that has come, in channels with `join_leave`."""
        return await self._next(self._joins, "a client that joins")

    async def left(self) -> ClientInfo:
        """The next client that has gone, in channels with `join_leave`."""
        return await self._next(self._leaves, "a client that leaves")

    async def unsubscribed(self) -> tuple[int, str]:
        """Wait until the server ends the subscription. Returns the code and the reason."""
        return await self.client.wait_for(lambda: self.ended, f"the end of the subscription to {self.channel!r}")

    async def publish(self, obj: Any) -> None:
        """Publish in the channel."""
        await self.client.publish(self.channel, obj)

    async def history(self, **options: Any) -> list[Publication]:
        """See `MemoryClient.history`."""
        return await self.client.history(self.channel, **options)

    async def presence(self) -> dict[str, ClientInfo]:
        """The clients in the channel, by their ids."""
        return await self.client.presence(self.channel)

    async def unsubscribe(self) -> None:
        """End the subscription."""
        await self.client.unsubscribe(self.channel)

    async def _next(self, queue: collections.deque[Item], what: str) -> Item:
        return await self.client.wait_for(lambda: queue.popleft() if queue else None, f"{what} in {self.channel!r}")

    def take(self, push: Push) -> None:
        """The server has sent a push."""
        if push.pub is not None:
            self._publications.append(_publication(push.pub))
            if push.pub.offset:
                self.position = StreamPosition(push.pub.offset, self.position.epoch)
        elif push.join is not None:
            self._joins.append(_info(push.join.info))
        elif push.leave is not None:
            self._leaves.append(_info(push.leave.info))
        elif push.unsubscribe is not None:
            self.ended = push.unsubscribe.code, push.unsubscribe.reason


def _scope(path: str, headers: Mapping[str, str]) -> Event:
    """The scope of a request, as an ASGI server makes it."""
    path, _, query = path.partition("?")
    raw = {"host": "testserver"} | {name.lower(): value for name, value in headers.items()}
    offered = raw.get("sec-websocket-protocol", "")
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "server": ("testserver", 80),
        "client": ("testclient", 50000),
        "root_path": "",
        "path": unquote(path),
        "raw_path": quote(path, safe="/%:@!$&'()*+,;=~").encode(),
        "query_string": quote(query, safe="/?%:@!$&'()*+,;=~").encode(),
        "headers": [(name.encode(), value.encode("iso-8859-1")) for name, value in raw.items()],
        "subprotocols": [each.strip() for each in offered.split(",") if each.strip()],
        "extensions": {"websocket.http.response": {}},
        "state": {},
    }


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    headers = Headers()
    for name, value in raw:
        headers.set_insecure(name.decode("iso-8859-1"), value.decode("iso-8859-1"))
    return headers


def _payload(obj: Any) -> Data:
    return msgspec.UNSET if obj is None else msgspec.Raw(encode_json(obj))


def _value(data: Data | bytes, type: Any = Any) -> Any:
    """A payload as a value of a type.

    Raises:
        AssertionError: if it isn't one.
    """
    payload = None if data is msgspec.UNSET else bytes(data)
    try:
        return typed(payload, type)
    except Refused as refused:
        raise AssertionError(f"the server sent {payload!r}, which is no {type!r}: {refused.message}") from None


def _publication(sent: messages.Publication) -> Publication:
    info = None if sent.info is None else _info(sent.info)
    return Publication(as_bytes(sent.data) or b"null", sent.offset, sent.time, info, sent.tags or None)


def _info(sent: messages.ClientInfo) -> ClientInfo:
    return ClientInfo(sent.user, sent.client, as_bytes(sent.conn_info), as_bytes(sent.chan_info))
