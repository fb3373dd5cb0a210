"""WebSocket servers on trio."""

from __future__ import annotations

import re
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Self

import trio

from trunkline.core.session import Side, State
from trunkline.datastructures import HeadersLike
from trunkline.endpoint.admission import BehindProxies
from trunkline.endpoint.server import BACKLOG, BaseServer, BasicAuth, SelectSubprotocol
from trunkline.extensions.base import ServerExtensionFactory
from trunkline.frames import Close, CloseCode
from trunkline.handshake.server import text_response
from trunkline.http11 import SERVER, Request, Response
from trunkline.options import Limit, Options
from trunkline.trio.connection import Connection, broadcast
from trunkline.trio.opening import ServerOpening
from trunkline.typing import LoggerLike, Origin, StatusLike, Subprotocol

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve"]

Handler = Callable[..., Awaitable[None]]
Listener = trio.abc.Listener[Any]
ProcessRequest = Callable[["ServerConnection", Request], "Awaitable[Response | None] | Response | None"]
ProcessResponse = Callable[["ServerConnection", Request, Response], "Awaitable[Response | None] | Response | None"]


class ServerConnection(BehindProxies, Connection):
    """A server's end of a WebSocket connection.

    Attributes:
        server: the `Server` that accepted it.
        username: who logged in through `basic_auth`.
    """

    username: str

    def __init__(self, nursery: trio.Nursery, stream: trio.abc.Stream, server: Server) -> None:
        super().__init__(nursery, stream, Side.SERVER, server.options, server.logger)
        self.server = server

    def respond(self, status: StatusLike, text: str) -> Response:
        """A plain text response, for `process_request` to return: the connection isn't opened.

        Args:
            status: HTTP status.
            text: body of the response.
        """
        return text_response(status, text)

    def tell_lost(self) -> None:
        super().tell_lost()
        self.log_closed(trio.current_time())

    # The handler

    async def handle(self) -> None:
        """Run the handler, and close the connection when it ends."""
        code = CloseCode.NORMAL_CLOSURE
        try:
            await self.server.handler(self)
        except Exception as error:
            self.server.log_failure(self, error)
            code = CloseCode.INTERNAL_ERROR
        await self.aclose(code)


class Server(BaseServer, trio.abc.AsyncResource):
    """A WebSocket server; `serve` makes one.

    Attributes:
        listeners: the `trio.SocketListener` objects, or others, that it accepts connections from.
        options: the `Options` of its connections.
        logger: a logger.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        handler: Handler,
        options: Options | None = None,
        *,
        ssl: ssl_module.SSLContext | None = None,
        create_connection: Callable[[trio.Nursery, trio.abc.Stream, Server], ServerConnection] | None = None,
        **rules: Any,
    ) -> None:
        super().__init__(handler, options, **rules)
        self.listeners = list(listeners)
        self.closing = False
        self._farewell: tuple[CloseCode | int, str] | None = None
        self._ssl = ssl
        self._create_connection = create_connection or ServerConnection
        self._openings: set[ServerOpening] = set()
        self._connections: set[ServerConnection] = set()
        self._accepting = trio.CancelScope()
        self._idle: trio.Event | None = None
        self._closed = trio.Event()

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return {connection for connection in self._connections if connection.session.state is State.OPEN}

    def is_closed(self) -> bool:
        """Whether `aclose` has done its work."""
        return self._closed.is_set()

    # Serving

    async def serve_forever(self, task_status: trio.TaskStatus[Self] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept connections until `aclose` is called; `nursery.start` it to get the server once it listens."""
        async with trio.open_nursery() as handlers:
            try:
                with self._accepting:
                    for listener in self.listeners:
                        self._log_listener(listener)
                    task_status.started(self)
                    await trio.serve_listeners(self._handle_stream, self.listeners, handler_nursery=handlers)
            finally:
                for listener in self.listeners:
                    await trio.aclose_forcefully(listener)

    def _log_listener(self, listener: Any) -> None:
        if isinstance(listener, trio.SSLListener):
            listener = listener.transport_listener
        if isinstance(listener, trio.SocketListener):
            self.log_listening(listener.socket)
        else:
            self.logger.info("server listening on %r", listener)

    async def _handle_stream(self, stream: trio.abc.Stream) -> None:
        """Handle a connection from its beginning to its end; nothing that goes wrong with it is raised."""
        if self._ssl is not None:  # it shakes hands when it is first read, which open_timeout limits
            stream = trio.SSLStream(stream, self._ssl, server_side=True, https_compatible=True)
        try:
            async with trio.open_nursery() as nursery:
                connection = await self._open(nursery, stream)
                if connection is not None:
                    await self._handle(connection)
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went away during the opening handshake
        except* Exception:
            self.logger.error("unexpected internal error", exc_info=True)
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)
            if self._idle is not None and not self._openings and not self._connections:
                self._idle.set()

    def new_connection(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> ServerConnection:
        return self._create_connection(nursery, stream, self)

    async def _open(self, nursery: trio.Nursery, stream: trio.abc.Stream) -> ServerConnection | None:
        """The connection that comes of a stream, or None."""
        opening = ServerOpening(nursery, stream, self)
        self._openings.add(opening)
        connection: ServerConnection | None = None
        try:
            connection = await opening.run()
        finally:
            self._openings.discard(opening)
            if connection is None:
                opening.tell_lost()
                if opening.made is not None:
                    self.dismiss(opening.made)
        return connection

    async def _handle(self, connection: ServerConnection) -> None:
        self._connections.add(connection)
        if self.closing:
            self.part_with(connection)
        try:
            await connection.handle()
            await connection.wait_closed()
        finally:
            self._connections.discard(connection)
            self.dismiss(connection)

    # Closing

    async def aclose(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop accepting connections, close those there are, and wait until their handlers have ended.

        An opening handshake that is under way has a second to finish, and its connection is closed like the others. One
        that waits for `process_request` or `process_response`, or takes longer, is refused with status 503.

        Args:
            close_connections: False leaves open connections alone.
            code: close code sent to the clients.
            reason: close reason sent to the clients.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        Close(code, reason).serialize()  # raises before anything is closed
        if not self.closing:
            self.closing = True
            self._farewell = (code, reason) if close_connections else None
            self.logger.info("server closing")
            self._accepting.cancel()
            # Before anything is awaited, lest a hook lets a client in meanwhile.
            for opening in list(self._openings):
                opening.hurry()
            for connection in list(self._connections):
                self.part_with(connection)
            for listener in self.listeners:
                await trio.aclose_forcefully(listener)
            if self._openings or self._connections:
                self._idle = trio.Event()
                await self._idle.wait()
            self.logger.info("server closed")
            self._closed.set()
        await self._closed.wait()

    def part_with(self, connection: ServerConnection) -> None:
        """Close a connection, unless `aclose` was told to leave open ones alone."""
        if self._farewell is not None:
            connection.start_closing(*self._farewell)


async def serve(
    handler: Handler,
    port: int | None = None,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    listeners: Sequence[Listener] | None = None,
    ssl: ssl_module.SSLContext | None = None,
    origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
    extensions: Sequence[ServerExtensionFactory] | None = None,
    subprotocols: Sequence[Subprotocol] | None = None,
    select_subprotocol: SelectSubprotocol | None = None,
    compression: str | None = "deflate",
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
    create_connection: Callable[[trio.Nursery, trio.abc.Stream, Server], ServerConnection] | None = None,
    extra_headers: HeadersLike = (),
    max_connections: int | None = None,
    max_per_ip: int | None = None,
    trusted_proxies: Sequence[str] = (),
    proxy_protocol: bool = False,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a WebSocket server until it is closed or cancelled.

    Start it in a nursery to go on while it runs, and to get the `Server`::

        async with trio.open_nursery() as nursery:
            server = await nursery.start(serve, handler, 8765)
            ...
            await server.aclose()

    `handler` is called for each connection, as `handler(connection)` or `handler(connection, path)`. When it returns,
    the connection is closed with code 1000; when it raises, with 1011, and the error is logged.

    Args:
        handler: coroutine function that handles a connection.
        port: TCP port, 0 for any that is free.
        host: address or name to listen on; None for all interfaces.
        backlog: connections that the system keeps until they are accepted, 4,096 by default.
        listeners: `trio.SocketListener` objects or others to use instead of new ones, such as those of
            `trio.open_tcp_listeners`; for TLS, wrap them in `trio.SSLListener`, or give `ssl`.
        ssl: TLS configuration.
        origins: origins that may connect: strings, patterns for the whole header, None for requests without one.
        extensions: factories of extensions to accept.
        subprotocols: names of subprotocols to accept, in order of preference.
        select_subprotocol: function that chooses one, `(connection, offered) -> subprotocol or None`.
        compression: "deflate" compresses messages for clients that can (RFC 7692), unless they are short; "deflate-all"
            compresses short ones, too; None none.
        process_request: `(connection, request) -> Response or None`, sync or async; a response refuses the connection.
        process_response: `(connection, request, response) -> Response or None`, sync or async; may change the response.
        server_header: value of the Server header, None for none.
        open_timeout: seconds for the opening handshake, as all timeouts None for no limit.
        ping_interval: seconds between keepalive pings.
        ping_timeout: seconds to wait for the answer.
        close_timeout: seconds to wait for the closing handshake.
        max_size: limit of a received message in bytes, or (message, fragment); None for none.
        max_queue: frames received and not read at which reading pauses, or (high, low); None for no pause.
        write_limit: bytes waiting to leave at which `send` waits, or (high, low).
        logger: logger, by default `websockets.server`.
        create_connection: subclass of `ServerConnection` to use.
        extra_headers: headers to add to the response (a name from older versions of websockets).
        max_connections: at most so many connections at a time; the server answers more of them with status 503.
        max_per_ip: at most so many from one address, of IPv6 from one network of 64 bits; more get status 429.
        trusted_proxies: addresses and networks of proxies ("10.0.0.0/8"), "unix" for a Unix socket, "*" for all peers.
            Their headers Forwarded or X-Forwarded-For and -Proto tell `remote_address` and `scheme` of connections.
        proxy_protocol: True expects a header of the PROXY protocol, version 1 or 2, before each request.
        task_status: for `nursery.start`, which returns the `Server`.

    Raises:
        TypeError: if the handler takes neither one nor two arguments.
        ValueError: if an option makes no sense.
        OSError: if it can't listen.
    """
    options = Options(open_timeout, ping_interval, ping_timeout, close_timeout, max_size, max_queue, write_limit)
    server = Server(
        (),
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
        max_connections=max_connections,
        max_per_ip=max_per_ip,
        trusted_proxies=trusted_proxies,
        proxy_protocol=proxy_protocol,
        secure=ssl is not None or any(isinstance(listener, trio.SSLListener) for listener in listeners or ()),
        logger=logger,
        ssl=ssl,
        create_connection=create_connection,
    )
    if listeners is None:
        if port is None:
            raise ValueError("port is required when listeners is not provided")
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG if backlog is None else backlog)
    else:
        for name, value in (("port", port), ("host", host), ("backlog", backlog)):
            if value is not None:
                raise ValueError(f"{name} is incompatible with listeners")
    server.listeners = list(listeners)
    await server.serve_forever(task_status)


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
