"""WebSocket clients on trio."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import AsyncIterator, Callable, Generator, Sequence
from typing import Any, ClassVar, Literal

import trio

from trunkline.core.session import Side
from trunkline.datastructures import HeadersLike
from trunkline.endpoint.client import BaseConnect, no_response, opening_request, unix_arguments
from trunkline.endpoint.reconnecting import backoff, process_exception
from trunkline.extensions.base import ClientExtensionFactory
from trunkline.frames import CloseCode
from trunkline.handshake.client import ClientHandshake
from trunkline.http11 import USER_AGENT, Response
from trunkline.options import Limit, Options, check_arguments
from trunkline.trio.carrier import seconds
from trunkline.trio.connection import Connection
from trunkline.trio.proxy import connect_proxy, start_tls
from trunkline.typing import LoggerLike, Origin, PathLike, Subprotocol
from trunkline.uri import WebSocketURI

__all__ = ["ClientConnection", "connect", "unix_connect"]

#: Keyword arguments that `connect` passes on to `trio.open_tcp_stream`, or `unix_connect` to `trio.open_unix_socket`.
CONNECT_ARGUMENTS = frozenset({"host", "port", "path", "happy_eyeballs_delay", "local_address"})


class ClientConnection(Connection):
    """A client's end of a WebSocket connection."""

    def __init__(
        self,
        nursery: trio.Nursery | None,
        stream: trio.abc.Stream,
        handshake: ClientHandshake,
        options: Options,
        logger: LoggerLike | None = None,
    ) -> None:
        super().__init__(nursery, stream, Side.CLIENT, options, logger)
        self.negotiation = handshake

    async def open_handshake(
        self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = USER_AGENT
    ) -> None:
        """Send the request and wait until the response is accepted.

        Raises:
            InvalidHandshake: if it isn't.
        """
        self.request = opening_request(self.negotiation, additional_headers, user_agent_header)
        self.log_head(">", self.request)
        try:
            await self.stream.send_all(self.request.serialize())
            self.response = await self._receive_response()
        except trio.BrokenResourceError as error:
            raise no_response(error.__cause__ or error) from error.__cause__
        self.log_head("<", self.response)
        self.negotiation.process_response(self.response)
        self.start(self.negotiation.subprotocol, self.negotiation.extensions, self.negotiation.remaining)

    async def _receive_response(self) -> Response:
        while data := await self.io.receive():
            response = self.negotiation.receive_data(data)
            if response is not None:
                return response
        return self.negotiation.receive_eof()


class connect(BaseConnect):  # noqa: N801  # used like a function
    """Connect to a WebSocket server: use it in `async with`, or iterate over it to reconnect for ever.

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
        stream: a stream that is connected already, to be used instead of a new one.
        ssl: TLS configuration for `wss://`; by default that of `ssl.create_default_context`.
        server_hostname: name to look for in the server's certificate, by default the URI's host.
        origin: value of the Origin header.
        extensions: factories of extensions to offer.
        subprotocols: names of subprotocols to offer, in order of preference.
        compression: "deflate" compresses messages for servers that can (RFC 7692), unless they are short; "deflate-all"
            compresses short ones, too; None none.
        additional_headers: headers to add to the request; `extra_headers` is another name for it.
        user_agent_header: value of the User-Agent header, None for none.
        proxy: address of a proxy, `http://`, `https://`, `socks5h://` or another SOCKS. True takes the one that the
            environment or the system's settings name, None takes no proxy.
        proxy_ssl: settings of TLS with an `https://` proxy.
        proxy_server_hostname: name to look for in that proxy's certificate, by default the proxy's host.
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
        kwargs: passed on to `trio.open_tcp_stream`: `host` and `port` to connect to another place than the URI says,
            `happy_eyeballs_delay`, `local_address`.

    Raises:
        TypeError: if a keyword argument is unknown.
        ValueError: if an option makes no sense.
        InvalidURI: if `uri` isn't one.
        OSError: if the TCP connection or TLS fails, when connecting, as all that follow. With TLS it is a
            `trio.BrokenResourceError`, too, and its cause tells what was wrong.
        InvalidProxy: if the address of the proxy can't be used.
        ProxyError: if the proxy doesn't reach the server.
        InvalidHandshake: if the opening handshake fails.
        TimeoutError: if it takes longer than `open_timeout`.
    """

    CONNECTED: ClassVar[tuple[str, str]] = ("stream", "stream")

    def __init__(
        self,
        uri: str,
        *,
        stream: trio.abc.Stream | None = None,
        ssl: ssl_module.SSLContext | None = None,
        server_hostname: str | None = None,
        origin: Origin | None = None,
        extensions: Sequence[ClientExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        compression: str | None = "deflate",
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
        proxy: str | Literal[True] | None = True,
        proxy_ssl: ssl_module.SSLContext | None = None,
        proxy_server_hostname: str | None = None,
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
            arguments={"stream": stream, "ssl": ssl, "server_hostname": server_hostname, **kwargs},
        )
        self._proxy_tls: dict[str, Any] = {"proxy_ssl": proxy_ssl, "proxy_server_hostname": proxy_server_hostname}
        self._create_connection = create_connection or ClientConnection
        self._connection: ClientConnection | None = None

    # Connecting

    async def connect(self, nursery: trio.Nursery | None = None) -> ClientConnection:
        """Connect once, following redirects.

        Args:
            nursery: where the connection's tasks run; None lets trio's system nursery look after them.
        """
        with trio.move_on_after(seconds(self.options.open_timeout)):
            return await self._connect(nursery)
        raise TimeoutError("timed out during opening handshake")

    async def _connect(self, nursery: trio.Nursery | None) -> ClientConnection:
        for uri, handshake in self.attempts():
            stream = await self._open_stream(uri)
            try:
                connection = self._create_connection(
                    nursery, stream, handshake, options=self.options, logger=self.logger
                )
                await connection.open_handshake(self.additional_headers, self.user_agent_header)
            except BaseException as error:
                await trio.aclose_forcefully(stream)
                self.follow(error)
            else:
                return connection
        raise AssertionError("attempts() raises when there are too many")

    async def _open_stream(self, uri: WebSocketURI) -> trio.abc.Stream:
        """Open a stream to the server, with TLS for wss, through a proxy if there is one."""
        tls = self.tls_settings(uri)
        proxy = self.find_proxy(uri)
        others = "stream", "ssl", "server_hostname", "unix"
        arguments = {name: value for name, value in self.arguments.items() if name not in others}
        stream: trio.abc.Stream
        if self.arguments["stream"] is not None:
            stream = self.arguments["stream"]
        elif self.arguments.get("unix"):
            stream = await trio.open_unix_socket(os.fspath(arguments["path"]))
        else:
            host, port = arguments.pop("host", None) or uri.host, arguments.pop("port", None) or uri.port
            if proxy is None:
                stream = await trio.open_tcp_stream(host, port, **arguments)
            else:
                arguments["user_agent_header"] = self.user_agent_header
                stream = await connect_proxy(proxy, host, port, **self._proxy_tls, **arguments)
        return await start_tls(stream, **tls) if tls else stream

    # Uses

    async def __aenter__(self) -> ClientConnection:
        if self._connection is not None:
            raise RuntimeError("connect() isn't reentrant")
        self._connection = await self.connect()
        return self._connection

    async def __aexit__(self, *exc_info: Any) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.__aexit__(*exc_info)

    def __aiter__(self) -> AsyncIterator[ClientConnection]:
        return Reconnecting(self)


class Reconnecting(AsyncIterator[ClientConnection]):
    """The connections that `async for` gets, each open until the next turn, or until the loop is left.

    It is no asynchronous generator: those that aren't exhausted are closed by trio in a cancelled task, with a warning.
    """

    def __init__(self, connector: connect) -> None:
        self._connector = connector
        self._connection: ClientConnection | None = None

    async def __anext__(self) -> ClientConnection:
        if self._connection is not None:
            await self._connection.aclose()
            self._connection = None
        while self._connection is None:
            try:
                self._connection = await self._connector.connect()
            except Exception as error:
                await trio.sleep(self._connector.delay_after(error))
        self._connector.succeeded()
        return self._connection

    def __del__(self) -> None:
        # Leaving the loop is no error of the connection; its own tasks wait for the answer to the close frame.
        if self._connection is not None and trio.lowlevel.in_trio_task():
            self._connection.start_closing(CloseCode.NORMAL_CLOSURE, "")


def unix_connect(path: PathLike | None = None, uri: str | None = None, **kwargs: Any) -> connect:
    """Connect to a WebSocket server on a Unix socket; like `connect` but for `path`, the file name of the socket.

    `uri` gives the Host header and the path of the request, by default `ws://localhost/`, or with `ssl`
    `wss://localhost/`.
    """
    return connect(**unix_arguments(path, uri, kwargs, instead="stream"))
