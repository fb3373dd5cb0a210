# cython: annotation_typing=False
# As in client.py. A port may be a str, too, and a str a subclass.
"""WebSocket servers on asyncio."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import re
import socket
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

from trunkline.asyncio import engine as engines
from trunkline.asyncio.connection import Connection, broadcast
from trunkline.core.session import Side, State
from trunkline.datastructures import HeadersLike
from trunkline.endpoint.server import PORTION, BaseServer, BasicAuth
from trunkline.endpoint.server import is_credentials as is_credentials
from trunkline.exceptions import InvalidHandshake
from trunkline.frames import Close, CloseCode
from trunkline.http11 import SERVER, Request, Response
from trunkline.options import Compression, Limit, Options, check_arguments

try:
    import cython
except ImportError:
    from trunkline.core import _cython as cython  # type: ignore[no-redef]

if TYPE_CHECKING:
    from trunkline.extensions.base import ServerExtensionFactory
    from trunkline.typing import LoggerLike, Origin, PathLike, StatusLike, Subprotocol

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve", "unix_serve"]

Handler = Callable[..., Awaitable[None]]
ProcessRequest = Callable[["ServerConnection", Request], "Awaitable[Response | None] | Response | None"]
ProcessResponse = Callable[["ServerConnection", Request, Response], "Awaitable[Response | None] | Response | None"]
SelectSubprotocol = Callable[["ServerConnection", "Sequence[Subprotocol]"], "Subprotocol | None"]

GOING_AWAY = (CloseCode.GOING_AWAY, "")

#: Keyword arguments that `serve` passes on to `loop.create_server` or `loop.create_unix_server`.
LISTEN_ARGUMENTS = frozenset({
    "host", "port", "path", "family", "flags", "sock", "backlog", "ssl", "reuse_address", "reuse_port", "keep_alive",
    "ssl_handshake_timeout", "ssl_shutdown_timeout", "start_serving", "cleanup_socket",
})  # fmt: skip


@cython.cclass
class ServerConnection(Connection):
    """A server's end of a WebSocket connection.

    Attributes:
        server: the `Server` that accepted it.
        username: who logged in through `basic_auth`.
        farewell: close code and reason for it if the server closes and names no other code.
    """

    if not cython.compiled:
        username: str

    def __init__(self, protocol: Side, server: Server, **limits: Any) -> None:
        # `serve` gives no limits, but a factory may.
        options = dataclasses.replace(server.options, **limits) if limits else server.options
        super().__init__(protocol, options, server.logger)
        self.server = server
        self.handshake = server.new_handshake(self)
        self.farewell: tuple[CloseCode | int, str] = GOING_AWAY
        self.task: asyncio.Task[None] | None = None  # the latest: loops keep only weak references
        self.running = 0  # tasks, of hooks and of the handler
        self.rejected = False
        self.half_closed = False  # the client ended its half before it was answered
        self.asking = False  # it waits for `process_request` or `process_response`

    def respond(self, status: StatusLike, text: str) -> Response:
        """A plain text response, for `process_request` to return: the connection isn't opened.

        Args:
            status: HTTP status.
            text: body of the response.
        """
        return self.handshake.reject(status, text)

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.server.track(self)
        timeout = self.options.open_timeout
        if timeout is not None:
            self.drop_after(timeout)

    def on_drop(self) -> None:
        if self.session.state is State.CONNECTING and not self.rejected:
            self.logger.info("connection handshake timed out")
            if self.task is not None:
                self.task.cancel()  # a hook that takes longer
            if self.server.is_closing():
                self.refuse_unavailable()
                return
        super().on_drop()

    def receive_handshake(self, data: bytes) -> None:
        if self.rejected:
            return
        if self.request is not None:
            # Frames before our answer: keep them, but no more of them.
            self.transport.pause_reading()
            self.handshake.receive_data(data)
            return
        try:
            self.request = self.handshake.receive_data(data)
        except InvalidHandshake as error:
            self._reject(self.server.refuse(self, error))
            return
        if self.request is None:
            return
        if not self.server.has_hooks:
            self._respond(self.server.accept(self, self.request))
        else:
            self.running += 1
            task = self.loop.create_task(self._respond_after_hooks(self.request), context=self.server.context.copy())
            if not task.done():  # an eager one may have started the handler
                self.task = task

    def eof_received(self) -> bool:
        if self.session.state is not State.CONNECTING:
            return super().eof_received()
        asked = self.request is not None and not self.rejected
        self.half_closed = asked and self.transport.can_write_eof()  # it is answered all the same, as in `nc -N`
        return self.half_closed

    def connection_lost(self, error: BaseException | None) -> None:
        super().connection_lost(error)
        self.log_info("connection closed")
        if self.running and self.handshake is not None and self.task is not None and self.drop_at > 0:
            # A hook goes on without the client, and a server that closes waits for it: for the time that it had.
            self.loop.call_later(max(0.0, self.drop_at - self.clock()), self.task.cancel)
        self._forget_when_over()

    # The opening handshake

    async def _respond_after_hooks(self, request: Request) -> None:
        self.asking = True
        try:
            response = await self.server.answer(self, request)
            self.asking = False
            self._respond(response)
        finally:
            self.running -= 1
            self._forget_when_over()

    def _respond(self, response: Response) -> None:
        if self.lost or self.rejected:
            return
        self.response = response
        self.log_head("<", self.request)
        self.log_head(">", response)
        if response.status_code == 101 and self.handshake.exception is None:
            self._open(response)
            self._start_handler()
            if self.half_closed:
                self.eof_received()
            if self.server.is_closing():
                self.loop.call_soon(self.server.part_with, self)  # the handler has begun by then
        else:
            self._reject(response)

    def _open(self, response: Response) -> None:
        head = self.handshake.serialize(response)
        self.transport.write(head)
        self.drop_at = 0.0
        self.transport.resume_reading()
        self.log_info("connection open")
        handshake = self.handshake
        if not self.running:  # no hook has seen them
            self._request, self._response = handshake.head, head
        self.handshake = None  # type: ignore[assignment]  # idle connections should be small
        self.start(handshake.subprotocol, handshake.extensions, handshake.remaining)

    def _reject(self, response: Response) -> None:
        """Send an HTTP response instead of opening the connection, and let the client close it."""
        self.rejected = True
        self.response = response
        self.log_refusal(response, self.handshake.exception, self.handshake.accept_called)
        self.transport.write(self.handshake.serialize(response))
        # Closing with unread data resets the connection, and the client may never see the response: end our half only.
        if self.transport.can_write_eof() and not self.half_closed:
            self.write_eof()
            self.transport.resume_reading()
            self.drop_after(self.options.close_timeout or 10)
        else:
            self.transport.close()

    # The handler

    def _start_handler(self) -> None:
        """Run the handler in a task of its own, with nothing around it that each message would have to pass."""
        try:
            handling = self.server.handler(self)
            if not asyncio.iscoroutine(handling):
                handling = _wait_for(handling)
            if type(self).close is not Connection.close:
                handling = self._handle_and_close(handling)
        except Exception as error:
            self._handler_failed(error)
            return
        # Whatever runs on the loop, the handler sees the context in which the server was started, or that of its hooks.
        context = contextvars.copy_context() if self.running else self.server.context.copy()
        self.running += 1
        self.task = self.loop.create_task(handling, context=context)
        self.task.add_done_callback(self._handler_done)

    async def _handle_and_close(self, handling: Awaitable[None]) -> None:
        """Let a subclass close the connection in its own way, also when the handler has ended."""
        try:
            await handling
        except Exception as error:
            self.server.log_failure(self, error)
            await self.close(CloseCode.INTERNAL_ERROR)
        else:
            await self.close()

    def _handler_done(self, task: asyncio.Task[None]) -> None:
        self.task = None
        self.running -= 1
        if task.cancelled():
            # Most likely the event loop is about to stop: tell the peer, but don't wait for it.
            self.start_closing(*self.farewell)
            self.transport.close()
        elif (error := task.exception()) is not None:
            self._handler_failed(error)
        else:
            self.start_closing(CloseCode.NORMAL_CLOSURE, "")
        self._forget_when_over()

    def _handler_failed(self, error: BaseException) -> None:
        self.server.log_failure(self, error)
        self.start_closing(CloseCode.INTERNAL_ERROR, "")

    def _forget_when_over(self) -> None:
        if self.lost and self.running == 0:
            self.server.forget(self)

    def hurry(self) -> None:
        """The server closes during the opening handshake: let it finish soon, unless that is up to a hook."""
        if self.rejected or self.asking:
            self.refuse_unavailable()
        elif self.drop_at == 0 or self.drop_at > self.clock() + self.server.grace:
            self.drop_after(self.server.grace)

    def refuse_unavailable(self) -> None:
        """The server closes, and the opening handshake hasn't finished."""
        if not self.rejected:
            self._reject(self.server.unavailable(self.handshake))
        self.transport.close()


async def _wait_for(awaitable: Awaitable[None]) -> None:
    await awaitable


class Server(BaseServer):
    """A WebSocket server, made by `serve`. Await it, or use it as an asynchronous context manager, to start it.

    Attributes:
        options: the `Options` of its connections.
        logger: a logger, or None for the default of connections.
    """

    def __init__(
        self,
        handler: Handler,
        options: Options | None = None,
        *,
        create_connection: Callable[[Side, Server], ServerConnection] | None = None,
        engine: engines.Engine = "auto",
        listen_arguments: dict[str, Any],
        **rules: Any,
    ) -> None:
        super().__init__(handler, options, **rules)
        self._create_connection = create_connection or ServerConnection
        self._engine = engine
        self._listen_arguments = listen_arguments
        self._connections: set[ServerConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.context = contextvars.Context()
        self._closing: asyncio.Task[None] | None = None
        self._farewell: tuple[CloseCode | int, str] | None = None
        self._told_to_close = asyncio.Event()
        self._idle: asyncio.Future[None] | None = None
        self.server: engines.Listener | None = None

    # Starting

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def _start(self) -> Self:
        if self.server is None:
            self._loop = asyncio.get_running_loop()
            self.context = contextvars.copy_context()
            self.server = await engines.create_server(
                lambda: self._create_connection(Side.SERVER, self), engine=self._engine, **self._listen_arguments
            )
            if self.server.is_serving():
                self._log_listening()
        return self

    def _log_listening(self) -> None:
        for sock in self.sockets:
            self.log_listening(sock)

    async def __aenter__(self) -> Self:
        return await self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()
        await self.wait_closed()

    async def start_serving(self) -> None:
        """Start accepting connections, if `serve` was called with `start_serving=False`."""
        await self
        if not self.is_serving() and self._closing is None:
            await self._listener.start_serving()
            self._log_listening()

    async def serve_forever(self) -> None:
        """Accept connections until `close` is called, or until cancelled: then close the server."""
        await self.start_serving()
        try:
            await self.wait_closed()
        finally:
            self.close()
            await self.wait_closed()

    # State

    @property
    def _listener(self) -> engines.Listener:
        if self.server is None:
            raise RuntimeError("the server isn't started: await it, or use it in `async with`")
        return self.server

    @property
    def _loop_of_server(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            raise RuntimeError("the server isn't started: await it, or use it in `async with`")
        return self._loop

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return {connection for connection in self._connections if connection.session.state is State.OPEN}

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The listening sockets."""
        return () if self.server is None else tuple(self.server.sockets or ())

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The event loop of the server."""
        return self._loop_of_server

    def is_serving(self) -> bool:
        """Whether it accepts connections."""
        return self.server is not None and self.server.is_serving()

    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing is not None

    def track(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        if self._closing is not None:
            if self._closing.done():
                connection.refuse_unavailable()
            else:
                connection.hurry()

    def forget(self, connection: ServerConnection) -> None:
        self._connections.discard(connection)
        if not self._connections and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    # Closing

    def close(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop accepting connections, and close those there are; `wait_closed` waits for the end of it.

        An opening handshake that is under way has a second to finish, and its connection is closed like the others. One
        that waits for `process_request` or `process_response`, or takes longer, is refused with status 503.

        Args:
            close_connections: False leaves open connections alone.
            code: close code sent to the clients; 1001 gives way to what a handler set as `farewell`.
            reason: close reason sent to the clients.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        Close(code, reason).serialize()  # raises before anything is closed
        if self._closing is None and self.server is not None:
            engines.stop_accepting(self.server)
            self._farewell = (code, reason) if close_connections else None
            self._closing = self._loop_of_server.create_task(self._close())
            self._told_to_close.set()

    async def _close(self) -> None:
        self.logger.info("server closing")
        self._listener.close()
        await asyncio.sleep(0)  # connections accepted by now get to `track`
        closing: list[asyncio.Future[None]] = []
        for number, connection in enumerate(list(self._connections), 1):
            if connection.session.state is State.CONNECTING:
                connection.hurry()
            elif self._farewell is not None:
                closing.append(asyncio.ensure_future(connection.close(*self._last_words(connection))))
            if number % PORTION == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*closing)
        if self._connections:
            self._idle = self._loop_of_server.create_future()
            await self._idle
        self.logger.info("server closed")

    def part_with(self, connection: ServerConnection) -> None:
        """Close a connection whose opening handshake finished after `close` was called."""
        if self._farewell is not None:
            connection.start_closing(*self._last_words(connection))

    def _last_words(self, connection: ServerConnection) -> tuple[CloseCode | int, str]:
        """Close code and reason for a connection."""
        assert self._farewell is not None, "connections are closed"
        return connection.farewell if self._farewell == GOING_AWAY else self._farewell

    async def wait_closed(self) -> None:
        """Wait until `close` is done: all connections are closed and their handlers ended."""
        if self.server is None:
            return
        await self._told_to_close.wait()
        await asyncio.shield(self._closing)  # type: ignore[arg-type]  # the event says that it is there


def serve(
    handler: Handler,
    host: str | Sequence[str] | None = None,
    port: int | str | None = None,
    *,
    origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
    extensions: Sequence[ServerExtensionFactory] | None = None,
    subprotocols: Sequence[Subprotocol] | None = None,
    select_subprotocol: SelectSubprotocol | None = None,
    compression: Compression = "deflate",
    process_request: ProcessRequest | None = None,
    process_response: ProcessResponse | None = None,
    server_header: str | None = SERVER,
    open_timeout: float | None = 10,
    ping_interval: float | None = 20,
    ping_timeout: float | None = 20,
    close_timeout: float | None = 10,
    max_size: Limit = 2**20,
    max_queue: Limit = 16,
    write_limit: int | tuple[int, int | None] = 2**15,
    logger: LoggerLike | None = None,
    create_connection: Callable[[Side, Server], ServerConnection] | None = None,
    extra_headers: HeadersLike = (),
    engine: engines.Engine = "auto",
    **kwargs: Any,
) -> Server:
    """Create a WebSocket server.

    Use the result in `async with`, or await it; it may be created before an event loop runs::

        async with serve(handler, "localhost", 8765) as server:
            await server.serve_forever()

    `handler` is called for each connection, as `handler(connection)` or `handler(connection, path)`. When it returns,
    the connection is closed with code 1000; when it raises, with 1011, and the error is logged.

    Args:
        handler: coroutine function that handles a connection.
        host: address or name to listen on, or several; None for all interfaces.
        port: TCP port, 0 for any that is free.
        origins: origins that may connect: strings, patterns for the whole header, None for requests without one.
        extensions: factories of extensions to accept.
        subprotocols: names of subprotocols to accept, in order of preference.
        select_subprotocol: function that chooses one, `(connection, offered) -> subprotocol or None`.
        compression: "deflate" compresses messages for clients that can (RFC 7692); None doesn't.
        process_request: `(connection, request) -> Response or None`, sync or async; a response refuses the connection.
        process_response: `(connection, request, response) -> Response or None`, sync or async; may change the response.
        server_header: value of the Server header, None for none.
        open_timeout: seconds for the opening handshake, and for that of TLS before; as all timeouts None for none.
        ping_interval: seconds between keepalive pings.
        ping_timeout: seconds to wait for the answer.
        close_timeout: seconds to wait for the closing handshake.
        max_size: limit of a received message in bytes, or (message, fragment); None for none.
        max_queue: frames received and not read at which reading pauses, or (high, low); None for no pause.
        write_limit: bytes waiting to leave at which `send` waits, or (high, low).
        logger: logger, by default `websockets.server`.
        create_connection: subclass of `ServerConnection` to use.
        extra_headers: headers to add to the response (a name from older versions of websockets).
        engine: "auto", "reactor" or "transports".
        kwargs: passed on to `loop.create_server`: `ssl`, `sock`, `backlog` (4,096 by default; a `sock` that listens
            already keeps its own), `reuse_port`, `start_serving` and others.

    Raises:
        TypeError: if a keyword argument is unknown, or the handler takes neither one nor two arguments.
        ValueError: if an option makes no sense.
    """
    check_arguments("serve", kwargs, LISTEN_ARGUMENTS)
    if "path" not in kwargs:
        kwargs.update(host=host, port=port)
    options = Options(open_timeout, ping_interval, ping_timeout, close_timeout, max_size, max_queue, write_limit)
    if kwargs.get("ssl") is not None:
        kwargs.setdefault("ssl_handshake_timeout", options.open_timeout or None)
    return Server(
        handler,
        options,
        origins=origins,
        extensions=extensions,
        subprotocols=subprotocols,
        select_subprotocol=select_subprotocol,
        compression=compression,
        process_request=process_request,
        process_response=process_response,
        server_header=server_header,
        extra_headers=extra_headers,
        logger=logger,
        create_connection=create_connection,
        engine=engine,
        listen_arguments=kwargs,
    )


def unix_serve(handler: Handler, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Create a WebSocket server on a Unix socket; like `serve` but for `path`, the file name of the socket."""
    return serve(handler, path=path, unix=True, **kwargs)


def basic_auth(
    realm: str = "",
    credentials: tuple[str, str] | Iterable[tuple[str, str]] | None = None,
    check_credentials: Callable[[str, str], Awaitable[bool] | bool] | None = None,
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    """A `process_request` that asks for HTTP Basic authentication (RFC 7617) and sets `connection.username`.

    Args:
        realm: name of the protected space, ASCII.
        credentials: a pair (username, password), or an iterable of them.
        check_credentials: `(username, password) -> bool`, sync or async, instead of `credentials`.

    Raises:
        ValueError: if not exactly one of `credentials` and `check_credentials` is given.
        TypeError: if `credentials` is malformed.
    """
    return BasicAuth(realm, credentials, check_credentials).process_request
