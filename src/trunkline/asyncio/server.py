"""WebSocket servers on asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import re
import socket
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from typing import Any, Self

from trunkline.asyncio import engine as engines
from trunkline.asyncio.connection import Connection, broadcast
from trunkline.asyncio.opening import ServerOpening
from trunkline.asyncio.server_link import GOING_AWAY, ServerLink
from trunkline.asyncio.shared import shared_on
from trunkline.core.session import Side, State
from trunkline.datastructures import HeadersLike
from trunkline.endpoint.admission import BehindProxies
from trunkline.endpoint.server import PORTION, BaseServer, BasicAuth
from trunkline.endpoint.server import is_credentials as is_credentials
from trunkline.extensions.base import ServerExtensionFactory
from trunkline.frames import Close, CloseCode
from trunkline.handshake.server import text_response
from trunkline.http11 import SERVER, Request, Response
from trunkline.options import Compression, Limit, Options, check_arguments, check_timeout
from trunkline.typing import LoggerLike, Origin, PathLike, StatusLike, Subprotocol

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve", "unix_serve"]

SERVICE_RESTART = CloseCode.SERVICE_RESTART, ""

Handler = Callable[..., Awaitable[None]]
ProcessRequest = Callable[["ServerConnection", Request], "Awaitable[Response | None] | Response | None"]
ProcessResponse = Callable[["ServerConnection", Request, Response], "Awaitable[Response | None] | Response | None"]
SelectSubprotocol = Callable[["ServerConnection", "Sequence[Subprotocol]"], "Subprotocol | None"]

#: Keyword arguments that `serve` passes on to `loop.create_server` or `loop.create_unix_server`.
LISTEN_ARGUMENTS = frozenset({
    "host", "port", "path", "family", "flags", "sock", "backlog", "ssl", "reuse_address", "reuse_port", "keep_alive",
    "ssl_handshake_timeout", "ssl_shutdown_timeout", "start_serving", "cleanup_socket",
})  # fmt: skip


class ServerConnection(BehindProxies, ServerLink, Connection):
    """A server's end of a WebSocket connection.

    Attributes:
        server: the `Server` that accepted it.
        username: who logged in through `basic_auth`.
        farewell: close code and reason for it if the server closes and names no other code.
        on_server_closing: called without arguments when the server is about to close the connection, also if that has
            gone already, and only its handler still runs.
    """

    server: Server
    username: str

    def respond(self, status: StatusLike, text: str) -> Response:
        """A plain text response, for `process_request` to return: the connection isn't opened.

        Args:
            status: HTTP status.
            text: body of the response.
        """
        return text_response(status, text)


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
        self._openings: set[ServerOpening] = set()
        self._connections: set[ServerConnection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.context = contextvars.Context()
        self._closing: asyncio.Task[None] | None = None
        self._farewell: tuple[CloseCode | int, str] | None = None
        self._told_to_close = asyncio.Event()
        self._hurried = asyncio.Event()  # no connection may take its time any more
        self._idle: asyncio.Future[None] | None = None
        self.server: engines.Listener | None = None

    # Starting

    def __await__(self) -> Generator[Any, None, Self]:
        return self._start().__await__()

    async def _start(self) -> Self:
        if self.server is None:
            self._loop = asyncio.get_running_loop()
            self.context = contextvars.copy_context()
            shared = shared_on(self._loop)
            self.server = await engines.create_server(
                lambda: ServerOpening(self, shared), engine=self._engine, **self._listen_arguments
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

    # Called by its openings and connections

    def new_connection(self) -> ServerConnection:
        return self._create_connection(Side.SERVER, self)

    def track(self, opening: ServerOpening) -> None:
        """A socket was accepted."""
        self._openings.add(opening)
        if self._closing is not None:
            if self._closing.done():
                opening.refuse_unavailable()
            else:
                opening.hurry()

    def opened(self, opening: ServerOpening, connection: ServerConnection) -> None:
        """The opening handshake is done."""
        self._openings.discard(opening)
        self._connections.add(connection)

    def forget_opening(self, opening: ServerOpening) -> None:
        """The client is gone, and was refused, or had not been answered."""
        self._openings.discard(opening)
        if opening.made is not None:
            self.dismiss(opening.made)
        self._tell_idle()

    def forget(self, connection: ServerConnection) -> None:
        """The connection is lost, and its handler has ended."""
        self._connections.discard(connection)
        self.dismiss(connection)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self._openings or self._connections or self._closing is None:
            return
        self._hurried.set()
        if self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    # Closing

    def close(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop accepting connections, and close those there are; `wait_closed` waits for the end of it.

        It also ends a `drain` early. An opening handshake that is under way has a second to finish, and its connection
        is closed like the others. One that waits for `process_request` or `process_response`, or takes longer, is
        refused with status 503.

        Args:
            close_connections: False leaves open connections alone.
            code: close code sent to the clients; 1001 gives way to what a handler set as `farewell`.
            reason: close reason sent to the clients.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        Close(code, reason).serialize()  # raises before anything is closed
        self._start_closing((code, reason) if close_connections else None, 0)
        if close_connections:
            self._hurried.set()

    async def drain(self, seconds: float = 30) -> None:
        """Stop accepting connections, close those there are in even portions, and wait until their handlers have ended.

        So clients that come back at once don't all reach the other servers at the same moment. They get code 1012
        (service restart), or what a handler set as `farewell`: clients of rooms get 3001, come back and recover.
        `close` ends the wait: then all that are left are closed.

        Args:
            seconds: the time from the first connection to the last, 30 by default.

        Raises:
            TypeError, ValueError: if `seconds` is no number, negative, or too long.
        """
        if seconds is None or check_timeout("seconds", seconds) is None:
            raise ValueError(f"seconds is {seconds!r}: clients must be told some day")
        self._start_closing(SERVICE_RESTART, seconds)
        await self.wait_closed()

    def _start_closing(self, farewell: tuple[CloseCode | int, str] | None, seconds: float) -> None:
        if self._closing is None and self.server is not None:
            engines.stop_accepting(self.server)
            self._farewell = farewell
            self._closing = self._loop_of_server.create_task(self._close(seconds))
            self._told_to_close.set()

    async def _close(self, seconds: float) -> None:
        self.logger.info("server closing")
        self._listener.close()
        await asyncio.sleep(0)  # connections accepted by now get to `track`
        closing: list[asyncio.Future[None]] = []
        for opening in list(self._openings):
            opening.hurry()
        began, connections = self._loop_of_server.time(), list(self._connections)
        for number, connection in enumerate(connections, 1):
            await self._rest_until(began + seconds * (number - 1) / len(connections))
            if self._farewell is not None:
                self._announce(connection)
                closing.append(asyncio.ensure_future(connection.close(*self._last_words(connection))))
            elif connection.lost:
                self._announce(connection)
            if number % PORTION == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*closing)
        if self._openings or self._connections:
            self._idle = self._loop_of_server.create_future()
            await self._idle
        self.logger.info("server closed")

    async def _rest_until(self, when: float) -> None:
        """Rest until then on the clock of the loop, or until `close` is called."""
        delay = when - self._loop_of_server.time()
        if delay > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._hurried.wait()

    def part_with(self, connection: ServerConnection) -> None:
        """Close a connection whose opening handshake finished after `close` was called."""
        if self._farewell is not None:
            self._announce(connection)
            connection.start_closing(*self._last_words(connection))

    @staticmethod
    def _announce(connection: ServerConnection) -> None:
        if connection.on_server_closing is not None:
            connection.on_server_closing()

    def _last_words(self, connection: ServerConnection) -> tuple[CloseCode | int, str]:
        """Close code and reason for a connection."""
        assert self._farewell is not None, "connections are closed"
        own = connection.farewell
        return own if own != GOING_AWAY and self._farewell in (GOING_AWAY, SERVICE_RESTART) else self._farewell

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
    max_connections: int | None = None,
    max_per_ip: int | None = None,
    trusted_proxies: Sequence[str] = (),
    proxy_protocol: bool = False,
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
        compression: "deflate" compresses messages for clients that can (RFC 7692), unless they are short; "deflate-all"
            compresses short ones, too; None none.
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
        max_connections: at most so many connections at a time; the server answers more of them with status 503.
        max_per_ip: at most so many from one address, of IPv6 from one network of 64 bits; more get status 429.
        trusted_proxies: addresses and networks of proxies ("10.0.0.0/8"), "unix" for a Unix socket, "*" for all peers.
            Their headers Forwarded or X-Forwarded-For and -Proto tell `remote_address` and `scheme` of connections.
        proxy_protocol: True expects a header of the PROXY protocol, version 1 or 2, before each request.
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
        max_connections=max_connections,
        max_per_ip=max_per_ip,
        trusted_proxies=trusted_proxies,
        proxy_protocol=proxy_protocol,
        secure=kwargs.get("ssl") is not None,
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
