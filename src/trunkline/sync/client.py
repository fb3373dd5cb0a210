"""WebSocket clients for threads."""

from __future__ import annotations

import inspect
import os
import socket
import ssl as ssl_module
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Literal, Self, TypedDict, Unpack, overload

from trunkline.core.session import Side
from trunkline.datastructures import HeadersLike
from trunkline.endpoint.client import BaseConnect, no_response, opening_request, unix_arguments
from trunkline.endpoint.reconnecting import backoff, process_exception
from trunkline.extensions.base import ClientExtensionFactory
from trunkline.handshake.client import ClientHandshake
from trunkline.http11 import USER_AGENT, Response
from trunkline.options import Limit, Options, check_arguments
from trunkline.sync import proxy as proxies
from trunkline.sync.connection import Connection
from trunkline.sync.stream import (
    TIMED_OUT,
    Deadline,
    SocketStream,
    Stream,
    push_all,
    read_some,
    start_tls,
    timeouts_say,
)
from trunkline.typing import LoggerLike, Origin, PathLike, Subprotocol
from trunkline.uri import WebSocketURI

__all__ = ["ClientConnection", "connect", "reconnect", "unix_connect", "unix_reconnect"]

#: Keyword arguments that are passed on to `socket.create_connection`, and what takes the place of its address.
CONNECT_ARGUMENTS = frozenset({"host", "port", "path", "timeout", "source_address", "all_errors"})


class ClientConnection(Connection):
    """A client's end of a WebSocket connection."""

    def __init__(
        self, stream: Stream, handshake: ClientHandshake, options: Options, logger: LoggerLike | None = None
    ) -> None:
        super().__init__(stream, Side.CLIENT, options, logger)
        self.negotiation = handshake
        self.warns = False

    def open_handshake(
        self,
        deadline: Deadline,
        additional_headers: HeadersLike | None = None,
        user_agent_header: str | None = USER_AGENT,
    ) -> None:
        """Send the request and wait until the response is accepted.

        Raises:
            InvalidHandshake: if it isn't.
            TimeoutError: if it takes too long.
        """
        self.request = opening_request(self.negotiation, additional_headers, user_agent_header)
        self.log_head(">", self.request)
        self.stream.write([self.request.serialize()])
        self.response = self._read_response(deadline)
        self.log_head("<", self.response)
        self.negotiation.process_response(self.response)
        self.start(self.negotiation.subprotocol, self.negotiation.extensions, self.negotiation.remaining)

    def _read_response(self, deadline: Deadline) -> Response:
        try:
            with timeouts_say("timed out while waiting for handshake response"):
                push_all(self.stream, deadline)
                while data := read_some(self.stream, deadline):
                    response = self.negotiation.receive_data(data)
                    if response is not None:
                        return response
        except TimeoutError:
            raise
        except OSError as error:
            raise no_response(error) from error
        return self.negotiation.receive_eof()

    def __enter__(self) -> Self:
        self.warns = False
        return self

    def _before_use(self) -> None:
        if self.warns:
            self.warns = False
            warnings.warn(
                "connect() must be used as a context manager: with connect(...) as websocket: ...; alternatively, use "
                "websocket = connect(..., legacy=True) to connect directly",
                DeprecationWarning,
                stacklevel=3,
            )


class reconnect(BaseConnect):  # noqa: N801  # used like a function
    """Connect to a WebSocket server: use it in `with`, or iterate over it to reconnect for ever.

    ::

        for websocket in reconnect("wss://example.com/chat"):
            try:
                ...
            except ConnectionClosed:
                continue

    Args:
        uri: `ws://` or `wss://` URI.
        sock: a connected TCP socket to use, without TLS.
        ssl: settings of TLS for a `wss://` URI, None for the default.
        server_hostname: name of the server in its certificate, by default the host in the URI.
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
        proxy_server_hostname: name of the proxy in its certificate.
        process_exception: tells, when reconnecting, whether an error may pass; see `process_exception`.
        reconnect_delays: function that makes a generator of the delays between attempts, in seconds.
        open_timeout: seconds for connecting and the opening handshake, as all timeouts None for no limit.
        ping_interval: seconds between keepalive pings.
        ping_timeout: seconds to wait for the answer.
        close_timeout: seconds to wait for the closing handshake.
        max_size: limit of a received message in bytes, or (message, fragment); None for none.
        max_queue: frames received and not read at which reading pauses, or (high, low); None for no pause.
        logger: logger, by default `websockets.client`.
        create_connection: subclass of `ClientConnection` to use.
        kwargs: passed on to `socket.create_connection`: `source_address`, `timeout`; `host` and `port` say where to
            connect to, whatever the URI says.

    Raises:
        TypeError: if a keyword argument is unknown.
        ValueError: if an option makes no sense.
        InvalidURI: if `uri` isn't one.
        OSError: if the TCP connection fails; when connecting, as all that follow.
        InvalidProxy: if the address of the proxy can't be used.
        ProxyError: if the proxy doesn't reach the server.
        InvalidHandshake: if the opening handshake fails.
        TimeoutError: if it takes longer than `open_timeout`.
    """

    def __init__(
        self,
        uri: str,
        *,
        sock: socket.socket | None = None,
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
        logger: LoggerLike | None = None,
        create_connection: Callable[..., ClientConnection] | None = None,
        extra_headers: HeadersLike | None = None,
        **kwargs: Any,
    ) -> None:
        ssl = deprecated_ssl_context(ssl, kwargs)
        check_arguments("connect", kwargs, CONNECT_ARGUMENTS)
        check_socket(sock)
        super().__init__(
            uri,
            Options(open_timeout, ping_interval, ping_timeout, close_timeout, max_size, max_queue),
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
            arguments={"sock": sock, "ssl": ssl, "server_hostname": server_hostname, **kwargs},
        )
        self._proxy_tls: dict[str, Any] = {"ssl": proxy_ssl, "server_hostname": proxy_server_hostname}
        self._create_connection = create_connection or ClientConnection
        self._connection: ClientConnection | None = None

    # Connecting

    def connect(self) -> ClientConnection:
        """Connect once, following redirects."""
        deadline = Deadline(self.options.open_timeout)
        for uri, handshake in self.attempts():
            connection = self._open_connection(uri, handshake, deadline)
            try:
                connection.open_handshake(deadline, self.additional_headers, self.user_agent_header)
            except BaseException as error:
                connection.abort()
                self.follow(error)
            else:
                return connection
        raise AssertionError("attempts() raises when there are too many")

    def _open_connection(self, uri: WebSocketURI, handshake: ClientHandshake, deadline: Deadline) -> ClientConnection:
        """Open the TCP connection, with TLS for wss, through a proxy if there is one."""
        tls = self.tls_settings(uri)
        stream = self._open_stream(uri, deadline)
        try:
            if tls:
                stream = start_tls(stream, deadline=deadline, **tls)
            return self._create_connection(stream, handshake, options=self.options, logger=self.logger)
        except BaseException:
            stream.sock.close()
            raise

    def _open_stream(self, uri: WebSocketURI, deadline: Deadline) -> Stream:
        others = "ssl", "server_hostname", "unix"
        arguments = {name: value for name, value in self.arguments.items() if name not in others}
        sock = arguments.pop("sock")
        host, port = arguments.pop("host", uri.host), arguments.pop("port", uri.port)
        if sock is not None:
            return SocketStream(sock)
        if self.arguments.get("unix"):
            with timeouts_say(TIMED_OUT):
                return SocketStream(connect_unix(arguments["path"], deadline))
        proxy = self.find_proxy(uri)
        if proxy is None:
            arguments.setdefault("timeout", deadline.remaining())
            with timeouts_say(TIMED_OUT):
                return SocketStream(socket.create_connection((host, port), **arguments))
        return proxies.open_stream(
            proxy, host, port, deadline, user_agent_header=self.user_agent_header, **self._proxy_tls, **arguments
        )

    # Uses

    def __enter__(self) -> ClientConnection:
        if self._connection is not None:
            raise RuntimeError("connect() isn't reentrant")
        self._connection = self.connect()
        return self._connection

    def __exit__(self, *exc_info: Any) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.__exit__(*exc_info)

    def __iter__(self) -> Iterator[ClientConnection]:
        while True:
            try:
                connection = self.connect()
            except Exception as error:
                time.sleep(self.delay_after(error))
                continue
            self.succeeded()
            try:
                yield connection
            finally:
                # Also when the loop is left: that is no error of the connection, so it is closed with 1000.
                connection.close()


class ConnectSettings(TypedDict, total=False):
    """The settings of `reconnect` that `connect` and the functions for Unix sockets take, for type checkers."""

    sock: socket.socket | None
    ssl: ssl_module.SSLContext | None
    server_hostname: str | None
    origin: Origin | None
    extensions: Sequence[ClientExtensionFactory] | None
    subprotocols: Sequence[Subprotocol] | None
    compression: str | None
    additional_headers: HeadersLike | None
    user_agent_header: str | None
    proxy: str | Literal[True] | None
    proxy_ssl: ssl_module.SSLContext | None
    proxy_server_hostname: str | None
    open_timeout: float | None
    ping_interval: float | None
    ping_timeout: float | None
    close_timeout: float | None
    max_size: Limit
    max_queue: Limit
    logger: LoggerLike | None
    create_connection: Callable[..., ClientConnection] | None
    extra_headers: HeadersLike | None
    # of socket.create_connection
    host: str
    port: int
    timeout: float | None
    source_address: tuple[str, int] | None
    all_errors: bool
    ssl_context: ssl_module.SSLContext | None  # deprecated: ssl


class ReconnectSettings(ConnectSettings, total=False):
    """The same, with those about connecting again."""

    process_exception: Callable[[Exception], Exception | None]
    reconnect_delays: Callable[[], Generator[float]]


@overload
def connect(
    uri: str, *, legacy: Literal[True] | None = None, **kwargs: Unpack[ConnectSettings]
) -> ClientConnection: ...
@overload
def connect(uri: str, *, legacy: Literal[False], **kwargs: Unpack[ConnectSettings]) -> reconnect: ...
@overload
def connect(uri: str, *, legacy: bool | None, **kwargs: Unpack[ConnectSettings]) -> ClientConnection | reconnect: ...
def connect(uri: str, *, legacy: bool | None = None, **kwargs: Unpack[ConnectSettings]) -> ClientConnection | reconnect:
    """Connect to a WebSocket server::

        with connect("wss://example.com/chat") as websocket:
            ...

    Args:
        uri: `ws://` or `wss://` URI.
        legacy: True for `websocket = connect(...)`, without `with`; the caller closes the connection. None, the
            default, allows it and warns. With False, the result isn't a connection but a `reconnect`, which connects
            when it is used.
        kwargs: as for `reconnect`, without `process_exception` and `reconnect_delays`.

    Returns:
        A `ClientConnection`, unless `legacy` is False.

    Raises:
        Exception: as `reconnect` does.
    """
    for name in ("process_exception", "reconnect_delays"):
        if name in kwargs:
            raise TypeError(f"connect() got an unexpected keyword argument {name!r}: use reconnect()")
    settings: dict[str, Any] = {**kwargs}
    if "ssl_context" in settings:
        settings["ssl"] = deprecated_ssl_context(settings.get("ssl"), settings)
    connecting = reconnect(uri, **settings)
    if legacy is False:
        return connecting
    connection = connecting.connect()
    connection.warns = legacy is None
    return connection


def _signature_of_connect() -> inspect.Signature:
    parameters = dict(inspect.signature(reconnect).parameters)
    others = parameters.popitem()[1]
    del parameters["process_exception"], parameters["reconnect_delays"]
    legacy = inspect.signature(connect).parameters["legacy"]
    return inspect.Signature([*parameters.values(), legacy, others])


connect.__signature__ = _signature_of_connect()  # type: ignore[attr-defined]


def unix_reconnect(
    path: PathLike | None = None, uri: str | None = None, **kwargs: Unpack[ReconnectSettings]
) -> reconnect:
    """Connect to a WebSocket server on a Unix socket; like `reconnect` but for `path`, the file name of the socket.

    `uri` gives the Host header and the path of the request, by default `ws://localhost/`, or with `ssl`
    `wss://localhost/`.
    """
    return reconnect(**unix_arguments(path, uri, {**kwargs}))


@overload
def unix_connect(
    path: PathLike | None = None,
    uri: str | None = None,
    *,
    legacy: Literal[True] | None = None,
    **kwargs: Unpack[ConnectSettings],
) -> ClientConnection: ...
@overload
def unix_connect(
    path: PathLike | None = None,
    uri: str | None = None,
    *,
    legacy: Literal[False],
    **kwargs: Unpack[ConnectSettings],
) -> reconnect: ...
def unix_connect(
    path: PathLike | None = None,
    uri: str | None = None,
    *,
    legacy: bool | None = None,
    **kwargs: Unpack[ConnectSettings],
) -> ClientConnection | reconnect:
    """Connect to a WebSocket server on a Unix socket; like `connect` but for `path`, the file name of the socket.

    `uri` gives the Host header and the path of the request, by default `ws://localhost/`, or with `ssl`
    `wss://localhost/`.
    """
    return connect(legacy=legacy, **unix_arguments(path, uri, {**kwargs}))


def connect_unix(path: PathLike, deadline: Deadline) -> socket.socket:
    """A socket that is connected to a Unix socket."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(deadline.remaining())
        sock.connect(os.fspath(path))
    except BaseException:
        sock.close()
        raise
    return sock


def deprecated_ssl_context(ssl: Any, kwargs: dict[str, Any]) -> Any:
    """`ssl`, also under the name that older programs have for it."""
    if "ssl_context" not in kwargs:
        return ssl
    warnings.warn("ssl_context was renamed to ssl", DeprecationWarning, stacklevel=3)
    return kwargs.pop("ssl_context")


def check_socket(sock: socket.socket | None) -> None:
    """Refuse a socket with TLS, of which we couldn't see whether bytes are there.

    Raises:
        TypeError: if it is one.
    """
    if isinstance(sock, ssl_module.SSLSocket):
        raise TypeError("sock is an ssl.SSLSocket: give the plain socket, and ssl")
