"""A WebSocket of any ASGI server, with the interface of a `Connection` as far as ASGI allows.

`connection` gives a handler the connection itself where our class for uvicorn is underneath. Elsewhere it gives an
`ASGIWebSocket`. That one has a writer of its own: ASGI knows no way to send without waiting, and `broadcast` and rooms
need one. The writer keeps a bounded number of bytes.
"""

from __future__ import annotations

import asyncio
import collections
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any
from urllib.parse import quote

from trunkline import json
from trunkline.asgi.connection import EXTENSION
from trunkline.core.inbox import convert
from trunkline.core.opcodes import TEXT
from trunkline.core.session import State
from trunkline.core.writer import PreparedMessage
from trunkline.datastructures import Headers
from trunkline.endpoint.life import BROADCAST_BACKLOG
from trunkline.endpoint.messages import AsyncMessages
from trunkline.exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedError, ConnectionClosedOK
from trunkline.frames import OK_CLOSE_CODES, Close, CloseCode
from trunkline.http11 import Request
from trunkline.typing import Data, DataLike, LoggerLike, Subprotocol

__all__ = ["ASGIWebSocket", "native_connection"]

Event = MutableMapping[str, Any]

WRITE_LIMIT = 1 << 15  # bytes; as many may wait for the writer before `send_nowait` takes no more
CLOSE_TIMEOUT = 10.0  # seconds for a client that doesn't read, or doesn't answer a close frame


def native_connection(scope: Mapping[str, Any]) -> Any:
    """The connection below an ASGI scope, where the server uses our class; None elsewhere."""
    extension: Any = (scope.get("extensions") or {}).get(EXTENSION)
    return None if extension is None else extension["connection"]


class ASGIWebSocket:
    """A WebSocket connection that an ASGI server carries.

    It has no pings of its own and no compression to choose: both are the server's.

    Args:
        scope: of the connection.
        receive: that of ASGI, or of Starlette's `WebSocket`.
        send: likewise.
        accept: coroutine function that accepts the connection, when it is used for the first time; None if it is
            accepted.
        subprotocol: the one that the connection was, or will be, accepted with.

    Attributes:
        scope: as given.
        request: the request, as the scope tells it.
        subprotocol: as given.
        skipped_broadcasts: messages that it missed since its client reads too slowly.
        on_writable: called without arguments when `send_nowait` takes messages again; None by default.
        on_closing: called without arguments, once, when the connection isn't open any more; None by default.
        on_server_closing: never called: ASGI servers don't tell.
    """

    def __init__(
        self,
        scope: Mapping[str, Any],
        receive: Callable[[], Awaitable[Event]],
        send: Callable[[Event], Awaitable[None]],
        *,
        accept: Callable[[], Awaitable[None]] | None = None,
        subprotocol: str | None = None,
    ) -> None:
        self.scope = scope
        self.subprotocol = None if subprotocol is None else Subprotocol(subprotocol)
        self.id = uuid.uuid4()
        self.logger: LoggerLike = logging.getLogger("trunkline.asgi")
        self.skipped_broadcasts = 0
        self.on_writable: Callable[[], None] | None = None
        self.on_closing: Callable[[], None] | None = None
        self.on_server_closing: Callable[[], None] | None = None
        self.keepalive_task = None  # pings are up to the server
        self.farewell = None  # and so are close codes when it shuts down
        self._request: Request | None = None
        self._receive = receive
        self._send = send
        self._accept = accept
        self._receiving: asyncio.Timeout | None = None
        self._patience: float | None = None  # when the loop's clock says so, the client is given up
        self._state = State.OPEN if accept is None else State.CONNECTING
        self._rcvd: Close | None = None
        self._sent: Close | None = None
        self._failure: BaseException | None = None
        self._waiting: collections.deque[tuple[Event, int]] = collections.deque()  # and their sizes
        self._waiting_size = 0
        self._refused = False  # a message wasn't taken: `on_writable` is to be called
        self._turn = asyncio.Lock()  # one event at a time: servers differ in what they do with two
        self._writer: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._state.name} {self.remote_address}>"

    # Facts

    @property
    def request(self) -> Request:
        """The request of the opening handshake."""
        if self._request is None:
            raw = self.scope.get("raw_path")
            path = raw.decode("ascii") if raw else quote(self.scope["path"])
            query = self.scope.get("query_string", b"").decode("ascii")
            headers = Headers()
            for name, value in self.scope["headers"]:
                headers.set_insecure(name.decode("iso-8859-1"), value.decode("iso-8859-1"))
            self._request = Request(f"{path}?{query}" if query else path, headers)
        return self._request

    @property
    def path(self) -> str:
        """Path of the request, with its query."""
        return self.request.path

    @property
    def remote_address(self) -> Any:
        """Address of the client, as the server gives it; None if unknown."""
        return self.scope.get("client")

    @property
    def local_address(self) -> Any:
        """Address of the server; None if unknown."""
        return self.scope.get("server")

    @property
    def state(self) -> State:
        """`State.OPEN`, `CLOSING` or `CLOSED`; it can change at any time: catch exceptions."""
        return self._state

    @property
    def open(self) -> bool:
        """Whether the connection is open."""
        return self._state is State.OPEN

    @property
    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._state is State.CLOSED

    @property
    def close_code(self) -> int | None:
        """Close code received, 1006 if the connection was cut, None while it isn't closed."""
        if not self.closed:
            return None
        return CloseCode.ABNORMAL_CLOSURE if self._rcvd is None else self._rcvd.code

    @property
    def close_reason(self) -> str | None:
        """Close reason received, None while the connection isn't closed."""
        if not self.closed:
            return None
        return "" if self._rcvd is None else self._rcvd.reason

    def unsent(self) -> int:
        """Bytes that wait for the server to take them."""
        return self._waiting_size

    async def ensure_open(self) -> None:
        """Accept the connection, unless that is done."""
        accept, self._accept = self._accept, None
        if accept is not None:
            await accept()
            self._state = State.OPEN

    # Receiving

    async def recv(self, decode: bool | None = None) -> Data:
        """Receive the next message: str for text, bytes for binary; see `Connection.recv`.

        Raises:
            ConnectionClosed: if the connection is closed.
            ConcurrencyError: if two tasks receive at the same time.
        """
        await self.ensure_open()
        if self._receiving is not None:
            raise ConcurrencyError("cannot call recv while another coroutine is already running recv")
        while self._state is not State.CLOSED:
            event = await self._next_event()
            if event["type"] == "websocket.receive":
                text = event.get("text")
                message: Data = event["bytes"] if text is None else text
                return convert(message, decode)
            if event["type"] == "websocket.disconnect":
                self._end(event.get("code", CloseCode.NO_STATUS_RCVD), event.get("reason") or "")
        raise self._closed_exception()

    async def _next_event(self) -> Event:
        try:
            async with asyncio.timeout_at(self._patience) as self._receiving:
                return await self._receive()
        except TimeoutError as error:
            self._fail(error)
        except (OSError, RuntimeError) as error:  # as servers and Starlette put that there is no more
            self._fail(error)
        finally:
            self._receiving = None
        return {"type": ""}

    def __aiter__(self) -> AsyncIterator[Data]:
        return AsyncMessages(self)

    async def recv_json(self, type: Any = None) -> Any:
        """Receive the next message and decode its JSON; see `Connection.recv_json`."""
        return json.decode(await self.recv(), type)

    # Sending

    async def send(self, message: DataLike | PreparedMessage, *, text: bool | None = None) -> None:
        """Send a message: str as text, bytes-like as binary. It waits until the server has taken it.

        Args:
            message: the message, perhaps prepared; there are no fragments in ASGI.
            text: True sends bytes-like data as text, False sends str as binary.

        Raises:
            ConnectionClosed: if the connection is closed.
            TypeError: if `message` is of no such type.
        """
        event = _event_of(message if isinstance(message, PreparedMessage) else PreparedMessage(message, text=text))
        await self.ensure_open()
        while self._writer is not None:  # what `send_nowait` took is ahead
            await asyncio.shield(self._writer)
        if not self.open:
            raise self._closed_exception()
        await self._pass_on(event)
        if self._failure is not None:
            raise self._closed_exception()

    async def send_json(self, obj: Any) -> None:
        """Send an object as a text message of JSON; see `Connection.send_json`."""
        await self.send(json.encode(obj), text=True)

    def send_nowait(self, message: PreparedMessage) -> bool:
        """Send a message if the connection is open and its client keeps up, so that no `send` would wait for long.

        Returns:
            Whether it was taken. If not, since more than 32 KiB wait already, `on_writable` is called when that has
            changed.
        """
        if not self.open:
            return False
        if self._waiting_size > WRITE_LIMIT:
            self._refused = True
            return False
        self._put(message)
        return True

    def broadcast(self, message: PreparedMessage) -> str | None:
        """Send without waiting, for `trunkline.broadcast`; returns why that was not possible, or None."""
        if not self.open:
            return None
        if self._waiting_size > BROADCAST_BACKLOG:
            self.skipped_broadcasts += 1
            return "the peer reads too slowly"
        self._put(message)
        return None

    def _put(self, message: PreparedMessage) -> None:
        self._waiting.append((_event_of(message), len(message)))
        self._waiting_size += len(message)
        self._start_writer()

    def _start_writer(self) -> None:
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        try:
            while self._waiting and self._failure is None:
                event, size = self._waiting.popleft()
                await self._pass_on(event)
                self._waiting_size = max(0, self._waiting_size - size)
                if self.open and self._refused and self._waiting_size <= WRITE_LIMIT // 4:
                    self._refused = False
                    if self.on_writable is not None:
                        self.on_writable()
        finally:
            self._writer = None

    async def _pass_on(self, event: Event) -> None:
        async with self._turn:
            try:
                await self._send(event)
            except Exception as error:  # OSError of the server, WebSocketDisconnect of Starlette, and others
                self._fail(error)

    # Closing

    def start_closing(self, code: CloseCode | int, reason: str) -> None:
        """Close the connection behind what was sent. It returns at once.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        if not self.open:
            return
        close = Close(code, reason)
        close.serialize()
        self._sent = close
        self._state = State.CLOSING
        self._waiting.append(({"type": "websocket.close", "code": int(code), "reason": reason}, 0))
        self._start_writer()
        self._patience = asyncio.get_running_loop().time() + CLOSE_TIMEOUT
        if self._receiving is not None:
            self._receiving.reschedule(self._patience)
        self._tell_closing()

    async def close(self, code: CloseCode | int = CloseCode.NORMAL_CLOSURE, reason: str = "") -> None:
        """Close the connection behind what was sent; closing a closed connection does nothing.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        self.start_closing(code, reason)
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until all that was sent, and the close frame, are with the server."""
        writer = self._writer
        if writer is not None:
            await asyncio.wait([writer], timeout=CLOSE_TIMEOUT)
            writer.cancel()

    async def __aenter__(self) -> Any:
        await self.ensure_open()
        return native_connection(self.scope) or self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        connection = native_connection(self.scope) or self
        await connection.close(CloseCode.NORMAL_CLOSURE if kind is None else CloseCode.INTERNAL_ERROR)
        return isinstance(error, ConnectionClosed)  # a client that goes away is no fault of a handler

    def _end(self, code: int, reason: str) -> None:
        """The server tells that the connection has ended."""
        if self._sent is None:
            self._rcvd = None if code == CloseCode.ABNORMAL_CLOSURE else Close(code, reason)
        elif code == self._sent.code:
            self._rcvd = self._sent  # servers tell the code of the application itself
        self._be_closed()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._be_closed()

    def _be_closed(self) -> None:
        self._state = State.CLOSED
        self._waiting.clear()
        self._waiting_size = 0
        self._tell_closing()

    def _tell_closing(self) -> None:
        on_closing, self.on_closing = self.on_closing, None
        if on_closing is not None:
            on_closing()

    def _closed_exception(self) -> ConnectionClosed:
        rcvd, sent = self._rcvd, self._sent
        first = rcvd is not None and sent is None
        sent = sent or rcvd  # the server has answered
        normal = rcvd is not None and sent is not None and {rcvd.code, sent.code} <= OK_CLOSE_CODES
        kind = ConnectionClosedOK if normal else ConnectionClosedError
        exception = kind(rcvd, sent, None if rcvd is None else first)
        exception.__cause__ = self._failure
        return exception


def _event_of(message: PreparedMessage) -> Event:
    if message.opcode == TEXT:
        return {"type": "websocket.send", "text": message.payload.decode()}
    return {"type": "websocket.send", "bytes": message.payload}
