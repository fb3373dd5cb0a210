"""WebSocket clients on asyncio."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any, Literal

from trunkline.asyncio import engine as engines
from trunkline.asyncio import proxy as proxies
from trunkline.asyncio.connection import Connection
from trunkline.core.session import Side
from trunkline.datastructures import HeadersLike
from trunkline.endpoint.client import BaseConnect, no_response, opening_request, unix_arguments
from trunkline.endpoint.reconnecting import backoff, process_exception
from trunkline.exceptions import InvalidHandshake, InvalidState
from trunkline.extensions.base import ClientExtensionFactory
from trunkline.handshake.client import ClientHandshake
from trunkline.http11 import USER_AGENT, Response
from trunkline.options import Compression, Limit, Options, check_arguments
from trunkline.sansio.client import ClientProtocol
from trunkline.typing import LoggerLike, Origin, PathLike, Subprotocol
from trunkline.uri import WebSocketURI

__all__ = ["ClientConnection", "backoff", "connect", "process_exception", "unix_connect"]

#: Keyword arguments that `connect` passes on to `loop.create_connection` or `loop.create_unix_connection`.
CONNECT_ARGUMENTS = frozenset({
    "host", "port", "path", "ssl", "family", "proto", "flags", "sock", "local_addr", "server_hostname",
    "ssl_handshake_timeout", "ssl_shutdown_timeout", "happy_eyeballs_delay", "interleave", "all_errors",
    "proxy_ssl", "proxy_server_hostname", "proxy_ssl_handshake_timeout", "proxy_ssl_shutdown_timeout",
})  # fmt: skip

#: Those of them that only concern a proxy.
PROXY_ARGUMENTS = frozenset(name for name in CONNECT_ARGUMENTS if name.startswith("proxy_"))


class ClientConnection(Connection):
    """A client's end of a WebSocket connection."""

    def __init__(
        self,
        protocol: ClientProtocol | ClientHandshake,
        options: Options | None = None,
        logger: LoggerLike | None = None,
        **limits: Any,
    ) -> None:
        if isinstance(protocol, ClientHandshake):  # as `connect` does it
            super().__init__(Side.CLIENT, options, logger)
            handshake = protocol
        else:
            super().__init__(protocol, **limits)
            handshake = protocol.handshake
        self.negotiation: ClientHandshake = handshake
        self.opening: ClientOpening | None = ClientOpening(self, handshake)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_protocol(self.opening)

    async def handshake(
        self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = USER_AGENT
    ) -> None:
        """Send the request and wait until the response is accepted.

        Raises:
            InvalidHandshake: if it isn't.
        """
        opening = self.opening
        if opening is None:
            raise InvalidState("the opening handshake is done already")
        self.request = opening_request(opening.handshake, additional_headers, user_agent_header)
        self.log_head(">", self.request)
        self.transport.write(self.request.serialize())
        try:
            await opening.opened
        finally:
            self.opening = None  # it refers to us


class ClientOpening:
    """The protocol of a client's transport, until the response is accepted (RFC 6455 section 4.1).

    Args:
        connection: the connection, to which it hands the transport over.
        handshake: reads the response.

    Attributes:
        opened: a future, done when the connection is open.
    """

    def __init__(self, connection: ClientConnection, handshake: ClientHandshake) -> None:
        self.connection = connection
        self.handshake = handshake
        self.opened: asyncio.Future[None] = connection.loop.create_future()

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        try:
            response = self.handshake.receive_data(data)
            if response is not None:
                self._process(response)
        except InvalidHandshake as error:
            self._fail(error)

    def _process(self, response: Response) -> None:
        connection, handshake = self.connection, self.handshake
        connection.response = response
        connection.log_head("<", response)
        handshake.process_response(response)
        connection.transport.set_protocol(connection)
        connection.start(handshake.subprotocol, handshake.extensions, handshake.remaining)
        self.opened.set_result(None)

    def _fail(self, error: Exception) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        self.connection.transport.abort()

    def eof_received(self) -> bool:
        if not self.opened.done():
            try:
                self._process(self.handshake.receive_eof())
            except InvalidHandshake as error:
                self._fail(error)
        return False

    def connection_lost(self, error: BaseException | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(no_response(error))
            self.opened.exception()  # no task waits for it if connecting was cancelled
        self.connection.connection_lost(error)

    def pause_writing(self) -> None:
        """A request is short: it may wait in the transport."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""


class connect(BaseConnect):  # noqa: N801  # used like a function
    """Connect to a WebSocket server: await it, use it in `async with`, or iterate over it to reconnect for ever.

    ::

        async with connect("wss://example.com/chat") as websocket:
            ...

        async for websocket in connect("wss://example.com/chat"):
            try:
                ...
            except ConnectionClosed:
                continue

    Args:
        uri: `ws://` or `wss://` URI.
        origin: value of the Origin header.
        extensions: factories of extensions to offer.
        subprotocols: names of subprotocols to offer, in order of preference.
        compression: "deflate" compresses messages for servers that can (RFC 7692), unless they are short; "deflate-all"
            compresses short ones, too; None none.
        additional_headers: headers to add to the request; `extra_headers` is another name for it.
        user_agent_header: value of the User-Agent header, None for none.
        proxy: address of a proxy, `http://`, `https://`, `socks5h://` or another SOCKS. True takes the one that the
            environment or the system's settings name, None takes no proxy.
        process_exception: tells, when reconnecting, whether an error may pass; see `process_exception`.
        reconnect_delays: function that makes a generator of the delays between attempts, in seconds.
        open_timeout: seconds for connecting and the opening handshake, as all timeouts None for no limit.
        ping_interval: seconds between keepalive pings.
        ping_timeout: seconds to wait for the answer.
        close_timeout: seconds to wait for the closing handshake.
        max_size: limit of a received message in bytes, or (message, fragment); None for none.
        max_queue: frames received and not read at which reading pauses, or (high, low); None for no pause.
        write_limit: bytes waiting to leave at which `send` waits, or (high, low).
        logger: logger, by default `websockets.client`.
        create_connection: subclass of `ClientConnection` to use.
        engine: "auto", "reactor" or "transports".
        kwargs: passed on to `loop.create_connection`: `ssl`, `sock`, `host`, `port`, `server_hostname` and others.
            With `proxy_` before them, `ssl`, `server_hostname`, `ssl_handshake_timeout` and `ssl_shutdown_timeout` are
            for TLS with an `https://` proxy.

    Raises:
        TypeError: if a keyword argument is unknown.
        ValueError: if an option makes no sense.
        InvalidURI: if `uri` isn't one.
        OSError: if the TCP connection fails; when awaited, as all that follow.
        InvalidProxy: if the address of the proxy can't be used.
        ProxyError: if the proxy doesn't reach the server.
        InvalidHandshake: if the opening handshake fails.
        TimeoutError: if it takes longer than `open_timeout`.
    """

    def __init__(
        self,
        uri: str,
        *,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        compression: Compression = "deflate",
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        proxy: str | Literal[True] | None = True,
        process_exception: Callable[[Exception], Exception | None] = process_exception,
        open_timeout: float | None = 10,
        ping_interval: float | None = 20,
        ping_timeout: float | None = 20,
        close_timeout: float | None = 10,
        reconnect_delays: Callable[[], Generator[float]] = backoff,
        max_size: Limit = 2**20,
        max_queue: Limit = 16,
        write_limit: int | tuple[int, int | None] = 2**15,
        logger: LoggerLike | None = None,
        create_connection: Callable[..., ClientConnection] | None = None,
        extra_headers: HeadersLike | None = None,
        engine: engines.Engine = "auto",
        **kwargs: Any,
    ) -> None:
        check_arguments("connect", kwargs, CONNECT_ARGUMENTS)
        super().__init__(
            uri,
            Options(open_timeout, ping_interval, ping_timeout, close_timeout, max_size, max_queue, write_limit),
            origin=origin,
            extensions=extensions,
            subprotocols=subprotocols,
            compression=compression,
            additional_headers=additional_headers,
            extra_headers=extra_headers,
            user_agent_header=user_agent_header,
            proxy=proxy,
            process_exception=process_exception,
            reconnect_delays=reconnect_delays,
            logger=logger,
            arguments=kwargs,
        )
        self._create_connection = create_connection or ClientConnection
        self._engine = engine
        self._connection: ClientConnection | None = None

    # Connecting

    async def connect(self) -> ClientConnection:
        """Connect once, following redirects, as `await` does."""
        try:
            async with asyncio.timeout(self.options.open_timeout):
                return await self._connect()
        except TimeoutError as error:
            raise TimeoutError("timed out during opening handshake") from error

    async def _connect(self) -> ClientConnection:
        for uri, handshake in self.attempts():
            connection = await self._open_connection(uri, handshake)
            try:
                await connection.handshake(self.additional_headers, self.user_agent_header)
            except BaseException as error:
                connection.transport.abort()
                await connection.wait_closed()
                self.follow(error)
            else:
                return connection
        raise AssertionError("attempts() raises when there are too many")

    async def _open_connection(self, uri: WebSocketURI, handshake: ClientHandshake) -> ClientConnection:
        """Open the TCP connection, with TLS for wss, through a proxy if there is one."""
        proxy = self.find_proxy(uri)
        if uri.secure and self.arguments.get("ssl", True) is None:
            raise ValueError("ssl=None is incompatible with a wss:// URI")
        arguments = {**self.arguments, **self.tls_settings(uri)}
        if not arguments.get("unix") and arguments.get("sock") is None:
            arguments.setdefault("host", uri.host)
            arguments.setdefault("port", uri.port)

        factory = functools.partial(self._create_connection, handshake, options=self.options, logger=self.logger)
        connection: ClientConnection
        if proxy is None:
            for name in PROXY_ARGUMENTS:
                arguments.pop(name, None)
            connection = await engines.create_connection(factory, engine=self._engine, **arguments)
        else:
            arguments["user_agent_header"] = self.user_agent_header
            connection = await proxies.create_connection(proxy, factory, engine=self._engine, **arguments)
        return connection

    # Uses

    def __await__(self) -> Generator[Any, None, ClientConnection]:
        return self.connect().__await__()

    async def __aenter__(self) -> ClientConnection:
        if self._connection is not None:
            raise RuntimeError("connect() isn't reentrant")
        self._connection = await self.connect()
        return self._connection

    async def __aexit__(self, *exc_info: Any) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.__aexit__(*exc_info)

    async def __aiter__(self) -> AsyncIterator[ClientConnection]:
        while True:
            try:
                connection = await self.connect()
            except Exception as error:
                await asyncio.sleep(self.delay_after(error))
                continue
            self.succeeded()
            try:
                yield connection
            finally:
                # Also when the loop is left: that is no error of the connection, so it is closed with 1000.
                await connection.close()


def unix_connect(path: PathLike | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect to a WebSocket server on a Unix socket; like `connect` but for `path`, the file name of the socket.

    `uri` gives the Host header and the path of the request, by default `ws://localhost/`, or with `ssl`
    `wss://localhost/`.
    """
    if path is None and kwargs.get("sock") is None:
        raise ValueError("no path and sock were specified")
    if path is not None and kwargs.get("sock") is not None:
        raise ValueError("path and sock can not be specified at the same time")
    return connect(**unix_arguments(path, uri, kwargs))
