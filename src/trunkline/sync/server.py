"""WebSocket servers for threads."""

from __future__ import annotations

import errno
import os
import re
import selectors
import socket
import ssl as ssl_module
import threading
import warnings
from collections.abc import Callable, Iterable, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Self

from trunkline.core.session import Side, State
from trunkline.datastructures import HeadersLike
from trunkline.endpoint.admission import BehindProxies
from trunkline.endpoint.log import address_in_words
from trunkline.endpoint.server import BACKLOG, BaseServer, BasicAuth, run_now
from trunkline.endpoint.server import is_credentials as is_credentials
from trunkline.extensions.base import ServerExtensionFactory
from trunkline.frames import Close, CloseCode
from trunkline.handshake.server import text_response
from trunkline.http11 import SERVER, Request, Response
from trunkline.options import Limit, Options, check_arguments
from trunkline.sync.carrier import address_of
from trunkline.sync.client import check_socket, deprecated_ssl_context
from trunkline.sync.connection import Connection, broadcast
from trunkline.sync.opening import ServerOpening
from trunkline.sync.stream import Deadline, SocketStream, Stream, here, start_tls, wait_for
from trunkline.typing import LoggerLike, Origin, PathLike, StatusLike, Subprotocol

__all__ = ["Server", "ServerConnection", "basic_auth", "broadcast", "serve", "unix_serve"]

Handler = Callable[..., None]
ProcessRequest = Callable[["ServerConnection", Request], "Response | None"]
ProcessResponse = Callable[["ServerConnection", Request, Response], "Response | None"]
SelectSubprotocol = Callable[["ServerConnection", "Sequence[Subprotocol]"], "Subprotocol | None"]

#: Keyword arguments that `serve` passes on to `socket.create_server`.
LISTEN_ARGUMENTS = frozenset({"family", "backlog", "reuse_port", "dualstack_ipv6", "path"})

OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class ServerConnection(BehindProxies, Connection):
    """A server's end of a WebSocket connection.

    Attributes:
        server: the `Server` that accepted it.
        username: who logged in through `basic_auth`.
    """

    username: str

    def __init__(self, stream: Stream, server: Server) -> None:
        super().__init__(stream, Side.SERVER, server.options, server.logger)
        self.server = server
        self.over = False

    def respond(self, status: StatusLike, text: str) -> Response:
        """A plain text response, for `process_request` to return: the connection isn't opened.

        Args:
            status: HTTP status.
            text: body of the response.
        """
        return text_response(status, text)

    # The handler

    def run_handler(self) -> None:
        """Call the handler, and close the connection when it returns or fails."""
        code = CloseCode.INTERNAL_ERROR
        try:
            self.server.handler(self)
            code = CloseCode.NORMAL_CLOSURE
        except Exception as error:
            self.server.log_failure(self, error)
        finally:
            self.close(code)

    def end_handling(self) -> None:
        """The server is done with it."""
        with self.mutex:
            self.over = True
            self.carrier.changed.notify_all()

    def wait_until_over(self) -> None:
        """Wait until the server is done with it. Meanwhile its own thread reads, or the watcher does."""
        with self.mutex:
            while not self.over:
                self.carrier.wait_for_change(None)

    def tell_lost(self) -> None:
        self.log_closed(monotonic())


class Server(BaseServer):
    """A WebSocket server, made by `serve`. A thread of the program runs `serve_forever`.

    As a context manager, it is shut down at the end.

    Args:
        sock: listening socket.
        handler: function that handles a connection.
        options: the `Options` of its connections.
        ssl: settings of TLS.
        create_connection: makes the `ServerConnection`.
        threads: as for `serve`.
        rules: as for `serve`.

    Attributes:
        socket: the listening socket, with `ssl` an `ssl.SSLSocket`.
        options: the `Options` of its connections.
        logger: the logger of the server.
    """

    def __init__(
        self,
        sock: socket.socket,
        handler: Handler,
        options: Options | None = None,
        *,
        ssl: ssl_module.SSLContext | None = None,
        create_connection: Callable[[Stream, Server], ServerConnection] | None = None,
        threads: int | None = None,
        **rules: Any,
    ) -> None:
        super().__init__(handler, options, **rules)
        self._start = _start_thread if threads is None else _fiber_threads(threads)
        self.socket = sock
        self._ssl = ssl
        self._create_connection = create_connection or ServerConnection
        self._openings: set[ServerOpening] = set()
        self._connections: set[ServerConnection] = set()
        self._alarm, self._bell = socket.socketpair()
        self._serving = False
        self._closing = False
        self._farewell: tuple[int, str] | None = None
        self.log_listening(sock)

    @property
    def connections(self) -> set[ServerConnection]:
        """The open connections."""
        return {connection for connection in list(self._connections) if connection.session.state is State.OPEN}

    def is_closing(self) -> bool:
        """Whether `shutdown` was called."""
        return self._closing

    def fileno(self) -> int:
        """The descriptor of the listening socket; -1 after `shutdown`."""
        return self.socket.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.shutdown()

    # Accepting

    def serve_forever(self) -> None:
        """Accept connections, each in a thread of its own, until `shutdown`, in another thread or a signal handler."""
        self._serving = True
        try:
            with self._alarm, selectors.DefaultSelector() as selector:
                self.socket.setblocking(False)
                selector.register(self.socket, selectors.EVENT_READ)
                selector.register(self._alarm, selectors.EVENT_READ)
                while not self._closing:
                    selector.select()
                    if not self._closing:
                        self._accept()
        except (OSError, ValueError):  # the sockets were closed before all this
            if not self._closing:
                raise

    def _accept(self) -> None:
        try:
            sock, _ = socket.socket.accept(self.socket)  # TLS is up to the connection's thread
        except OSError as error:
            if error.errno in OUT_OF_RESOURCES:
                self.logger.error("cannot accept a connection: %s; trying again in a second", error)
                wait_for(self._alarm, False, 1)
            return  # else the client went away, or the server was shut down
        try:
            self._start(self._handle, sock)
        except RuntimeError as error:
            self.logger.error("cannot handle a connection: %s", error)
            sock.close()

    def _handle(self, sock: socket.socket) -> None:
        """All about one connection, in its thread."""
        here.handling = True
        connection = self._open(sock)
        if connection is None:
            return
        try:
            if self._closing:  # meanwhile
                self._close(connection)
            connection.run_handler()
        except Exception:
            self.logger.error("closing failed", exc_info=True)
        finally:
            self.end(connection)

    def _open(self, sock: socket.socket) -> ServerConnection | None:
        """The connection that comes of an accepted socket, or None."""
        opening: ServerOpening | None = None
        connection: ServerConnection | None = None
        deadline = Deadline(self.options.open_timeout)
        try:
            stream: Stream = SocketStream(sock)
            if self._ssl is not None:
                stream = start_tls(stream, self._ssl, deadline, server_side=True)
            opening = ServerOpening(stream, self)
            self._openings.add(opening)
            if self._closing:
                opening.refuse_unavailable()
            else:
                connection = opening.run(deadline)
        except TimeoutError:
            self._log_failure_to_open(sock, opening, "connection handshake timed out")
        except OSError as error:
            self._log_failure_to_open(sock, opening, "connection lost during the handshake", str(error))
        except Exception:
            self.logger.error("opening handshake failed", exc_info=True)
        if opening is None:
            sock.close()
        else:
            try:
                if connection is None:
                    opening.close()
            finally:
                self._openings.discard(opening)
                opening.end()
        return connection

    def _log_failure_to_open(
        self, sock: socket.socket, opening: ServerOpening | None, event: str, detail: str = ""
    ) -> None:
        if not self.logs_info():
            return
        if opening is not None:
            opening.connection.log_info(event, detail=detail)
        else:  # TLS comes before
            peer = address_in_words(address_of(sock.getpeername))
            self.logger.info("%s: %s%s", event, peer, detail and f", {detail}")

    # Called by its openings

    def new_connection(self, stream: Stream) -> ServerConnection:
        return self._create_connection(stream, self)

    def opened(self, connection: ServerConnection) -> None:
        """The opening handshake succeeds: from now on, `shutdown` closes the connection."""
        self._connections.add(connection)

    def end(self, connection: ServerConnection) -> None:
        """The server is done with a connection, which has ended or was never opened."""
        connection.abort()
        self._connections.discard(connection)
        self.dismiss(connection)
        connection.end_handling()

    # Closing

    def shutdown(
        self, close_connections: bool = True, code: CloseCode | int = CloseCode.GOING_AWAY, reason: str = ""
    ) -> None:
        """Stop accepting connections, close those there are, and wait until all handlers have returned.

        Called by a handler, it only waits until the connections are closed. Another call waits, too. An opening
        handshake that is under way has a second to finish, and its connection is closed like the others. One that waits
        for `process_request` or `process_response`, or takes longer, is refused with status 503.

        Args:
            close_connections: False leaves open connections alone, and waits until they end by themselves.
            code: close code sent to the clients.
            reason: close reason sent to the clients.

        Raises:
            ProtocolError: if `code` or `reason` can't be sent.
        """
        Close(code, reason).serialize()  # raises before anything is closed
        self._farewell = (code, reason) if close_connections else None
        first, self._closing = not self._closing, True
        if first:
            self.logger.info("server closing")
            self._bell.close()  # wakes serve_forever()
            if not self._serving:
                self._alarm.close()
            self.socket.close()
        openings = list(self._openings)
        for connection in list(self._connections):
            self._close(connection)
        patience = monotonic() + self.grace
        for opening in openings:
            opening.finish(patience)
        for opening in openings:
            if not here.handling:  # handlers that waited for each other would do so for ever
                opening.wait_until_over()
        for connection in list(self._connections):
            self._wait_for(connection)
        if first:
            self.logger.info("server closed")

    def _close(self, connection: ServerConnection) -> None:
        """Close a connection without waiting for it, if it is open; its thread finds that the server closes."""
        if connection.session.state is not State.CONNECTING and self._farewell is not None:
            connection.start_closing(*self._farewell)

    def _wait_for(self, connection: ServerConnection) -> None:
        if not here.handling:
            connection.wait_until_over()
        elif self._farewell is not None and connection.session.state is not State.CONNECTING:
            connection.wait_closed()


def serve(
    handler: Handler,
    host: str | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
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
    logger: LoggerLike | None = None,
    create_connection: Callable[[Stream, Server], ServerConnection] | None = None,
    extra_headers: HeadersLike = (),
    max_connections: int | None = None,
    max_per_ip: int | None = None,
    trusted_proxies: Sequence[str] = (),
    proxy_protocol: bool = False,
    threads: int | None = None,
    **kwargs: Any,
) -> Server:
    """Create a WebSocket server, listening already::

        with serve(handler, "localhost", 8765) as server:
            server.serve_forever()

    `handler` is called for each connection in a thread of its own, as `handler(connection)` or
    `handler(connection, path)`. When it returns, the connection is closed with code 1000; when it raises, with 1011,
    and the error is logged.

    Args:
        handler: function that handles a connection.
        host: address or name to listen on; None for all interfaces.
        port: TCP port, 0 for any that is free.
        sock: a listening socket to use instead.
        ssl: settings of TLS.
        origins: origins that may connect: strings, patterns for the whole header, None for requests without one.
        extensions: factories of extensions to accept.
        subprotocols: names of subprotocols to accept, in order of preference.
        select_subprotocol: function that chooses one, `(connection, offered) -> subprotocol or None`.
        compression: "deflate" compresses messages for clients that can (RFC 7692), unless they are short; "deflate-all"
            compresses short ones, too; None none.
        process_request: `(connection, request) -> Response or None`; a response refuses the connection.
        process_response: `(connection, request, response) -> Response or None`; may change the response.
        server_header: value of the Server header, None for none.
        open_timeout: seconds for the opening handshake, as all timeouts None for no limit.
        ping_interval: seconds between keepalive pings.
        ping_timeout: seconds to wait for the answer.
        close_timeout: seconds to wait for the closing handshake.
        max_size: limit of a received message in bytes, or (message, fragment); None for none.
        max_queue: frames received and not read at which reading pauses, or (high, low); None for no pause.
        logger: logger, by default `websockets.server`.
        create_connection: subclass of `ServerConnection` to use.
        extra_headers: headers to add to the response (a name from older versions of websockets).
        max_connections: at most so many connections at a time; the server answers more of them with status 503.
        max_per_ip: at most so many from one address, of IPv6 from one network of 64 bits; more get status 429.
        trusted_proxies: addresses and networks of proxies ("10.0.0.0/8"), "unix" for a Unix socket, "*" for all peers.
            Their headers Forwarded or X-Forwarded-For and -Proto tell `remote_address` and `scheme` of connections.
        proxy_protocol: True expects a header of the PROXY protocol, version 1 or 2, before each request.
        threads: how many threads handlers may share; None gives each one of its own. Those on one thread take turns,
            whenever one waits for a connection. A call that blocks in another way, such as a lock or `time.sleep`,
            holds up all of them. It needs `trunkline[fibers]`.
        kwargs: passed on to `socket.create_server`: `family`, `backlog` (4,096 by default), `reuse_port`,
            `dualstack_ipv6`.

    Raises:
        TypeError: if a keyword argument is unknown, or the handler takes neither one nor two arguments.
        ValueError: if an option makes no sense.
        ImportError: if `threads` is given and greenlet isn't installed.
        OSError: if the address can't be used.
    """
    ssl = deprecated_ssl_context(ssl, kwargs)
    check_arguments("serve", kwargs, LISTEN_ARGUMENTS)
    check_socket(sock)
    unix = kwargs.pop("unix", False)
    path = kwargs.pop("path", None)
    options = Options(open_timeout, ping_interval, ping_timeout, close_timeout, max_size, max_queue)
    if sock is not None:
        for name, value in (("host", host), ("port", port), ("path", path)):
            if value is not None:
                raise ValueError(f"{name} is incompatible with sock")
    elif not unix:
        sock = listen(host, port, **kwargs)
    elif path is None:
        raise ValueError("missing path argument")
    else:
        sock = listen_unix(path, **kwargs)
    try:
        if ssl is not None:  # programs ask the socket whether the server has TLS
            sock = ssl.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return Server(
            sock,
            handler,
            options,
            ssl=ssl,
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
            secure=ssl is not None,
            logger=logger,
            create_connection=create_connection,
            threads=threads,
        )
    except BaseException:
        sock.close()
        raise


def _start_thread(function: Callable[..., object], *arguments: Any) -> None:
    threading.Thread(target=function, args=arguments, name="trunkline handler").start()


def _fiber_threads(threads: int) -> Callable[..., None]:
    if threads < 1:
        raise ValueError(f"threads is {threads!r}: it must be at least 1, or None for one for each connection")
    from trunkline.sync.fibers import FiberThreads

    return FiberThreads(threads).start


def listen(host: str | None, port: int | None, *, backlog: int | None = None, **kwargs: Any) -> socket.socket:
    """A listening TCP socket."""
    if host is not None and ":" in host:
        kwargs.setdefault("family", socket.AF_INET6)
    return socket.create_server((host or "", port or 0), backlog=BACKLOG if backlog is None else backlog, **kwargs)


def listen_unix(path: PathLike, *, backlog: int | None = None, **kwargs: Any) -> socket.socket:
    """A listening Unix socket, in the place of one on which no server listens any more."""
    queue = BACKLOG if backlog is None else backlog
    return socket.create_server(os.fspath(path), family=socket.AF_UNIX, backlog=queue, **kwargs)


def unix_serve(handler: Handler, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Create a WebSocket server on a Unix socket; like `serve` but for `path`, the file name of the socket."""
    return serve(handler, unix=True, path=path, **kwargs)


def basic_auth(
    realm: str = "",
    credentials: tuple[str, str] | Iterable[tuple[str, str]] | None = None,
    check_credentials: Callable[[str, str], bool] | None = None,
) -> Callable[[ServerConnection, Request], Response | None]:
    """A `process_request` that asks for HTTP Basic authentication (RFC 7617) and sets `connection.username`.

    Args:
        realm: name of the protected space, ASCII.
        credentials: a pair (username, password), or an iterable of them.
        check_credentials: `(username, password) -> bool`, instead of `credentials`.

    Raises:
        ValueError: if not exactly one of `credentials` and `check_credentials` is given.
        TypeError: if `credentials` is malformed.
    """
    auth = BasicAuth(realm, credentials, check_credentials)
    return lambda connection, request: run_now(auth.process_request(connection, request))


if not TYPE_CHECKING:  # or type checkers would believe that we have any name

    def __getattr__(name: str, stacklevel: int = 2) -> object:
        if name != "WebSocketServer":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn("WebSocketServer was renamed to Server", DeprecationWarning, stacklevel)
        return Server
