"""Decisions of a server, on every driver: how a request is answered, who may log in, how a handler is called."""

from __future__ import annotations

import functools
import hmac
import http
import inspect
import logging
import re
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, Final, Protocol, cast

from trunkline.compiled import warn_of_missing_modules
from trunkline.datastructures import Headers, HeadersLike
from trunkline.endpoint.admission import Admission
from trunkline.endpoint.log import address_in_words
from trunkline.exceptions import ConnectionClosed, InvalidHandshake, InvalidHeader
from trunkline.extensions.base import ServerExtensionFactory
from trunkline.extensions.permessage_deflate import (
    ServerPerMessageDeflateFactory,
    enable_server_permessage_deflate,
)
from trunkline.handshake.headers import build_www_authenticate_basic, parse_authorization_basic
from trunkline.handshake.hooks import goes_by_offer, is_for_pages
from trunkline.handshake.log import explain
from trunkline.handshake.server import ServerHandshake, text_response
from trunkline.http11 import SERVER, Request, Response
from trunkline.options import Options, check_compression, compresses_all
from trunkline.typing import LoggerLike, Origin, Subprotocol

try:
    from trunkline.handshake.fastpath import FastPath
except ImportError:  # the interpreted build
    FastPath = None  # type: ignore[assignment, misc]

__all__ = [
    "BACKLOG", "PORTION", "BaseServer", "BasicAuth", "adapt_handler", "get_socket_name", "is_credentials", "run_now",
    "settle",
]  # fmt: skip

BACKLOG: Final = 4096
"""Connections that the system keeps until the server accepts them; Linux allows `net.core.somaxconn` at most. Where the
queue is full, Linux drops what a client sends, and the client tries again after 1, 3 and 7 s."""

PORTION: Final = 100
"""Connections that a server closes before other tasks have their turn."""

SelectSubprotocol = Callable[[Any, "Sequence[Subprotocol]"], "Subprotocol | None"]


class Opening(Protocol):
    """An accepted socket of a driver: its handshake, and the connection that comes of it.

    Most drivers make the connection when something asks for it: a hook of the program, the log, or the 101.
    """

    handshake: Any
    request: Any
    made: Any
    """The connection, or None before."""

    @property
    def connection(self) -> Any: ...


class BaseServer:
    """The settings of `serve`, and the decisions that follow from them.

    Args:
        handler, origins, extensions, subprotocols, select_subprotocol, compression, process_request, process_response,
            server_header, extra_headers, logger, max_connections, max_per_ip, trusted_proxies, proxy_protocol: as for
            `serve`.
        secure: whether clients come over TLS.
        options: timeouts and limits.

    Attributes:
        admission: the `Admission` that counts connections and knows their clients, or None if there is no need for one.
        grace: seconds that opening handshakes have to finish when the server is told to close.

    Raises:
        TypeError: if the handler takes neither one nor two arguments.
        ValueError: if an option makes no sense.
    """

    grace = 1.0

    def __init__(
        self,
        handler: Callable[..., Any],
        options: Options | None = None,
        *,
        origins: Sequence[Origin | re.Pattern[str] | None] | None = None,
        extensions: Sequence[ServerExtensionFactory] | None = None,
        subprotocols: Sequence[Subprotocol] | None = None,
        select_subprotocol: SelectSubprotocol | None = None,
        compression: str | None = None,
        process_request: Callable[..., Any] | None = None,
        process_response: Callable[..., Any] | None = None,
        server_header: str | None = SERVER,
        extra_headers: HeadersLike = (),
        logger: LoggerLike | None = None,
        max_connections: int | None = None,
        max_per_ip: int | None = None,
        trusted_proxies: Sequence[str] = (),
        proxy_protocol: bool = False,
        secure: bool = False,
    ) -> None:
        warn_of_missing_modules()
        load_what_tracebacks_need()
        check_compression(compression)
        if compression is not None:
            extensions = enable_server_permessage_deflate(extensions, compresses_all(compression))
        self.handler = adapt_handler(handler)
        self.options = options or Options()
        self.process_request = process_request
        self.process_response = process_response
        self.logger: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
        self.response_headers = Headers(extra_headers)
        if server_header is not None:
            self.response_headers["Server"] = server_header
        self._rules = {"origins": origins, "extensions": extensions, "subprotocols": subprotocols}
        self._select_subprotocol = select_subprotocol
        self.secure = secure
        self.admission: Admission | None = None
        if max_connections is not None or max_per_ip is not None or trusted_proxies or proxy_protocol:
            self.admission = Admission(max_connections, max_per_ip, trusted_proxies, proxy_protocol)
        if proxy_protocol and secure:
            raise ValueError("proxy_protocol is for connections without TLS here: let the proxy end TLS")
        ServerHandshake(**self._rules)  # raises for what can't be one, before the first client comes
        self.fast_path = self._fast_path()

    @property
    def has_hooks(self) -> bool:
        """Whether an answer may wait for functions of the program."""
        return self.process_request is not None or self.process_response is not None

    @property
    def has_hooks_for_handshakes(self) -> bool:
        """Whether the answer to a WebSocket handshake may."""
        hook = self.process_request
        return self.process_response is not None or not (hook is None or is_for_pages(hook))

    def _fast_path(self) -> FastPath | None:
        """How ordinary requests are answered, if no function of the program has a say in it."""
        select = self._select_subprotocol
        asks = self.has_hooks_for_handshakes or (select is not None and not goes_by_offer(select))
        asks = asks or (self.admission is not None and self.admission.looks_at_requests)
        known = all(type(factory) is ServerPerMessageDeflateFactory for factory in self._rules["extensions"] or ())
        if asks or not known or FastPath is None:
            return None
        return FastPath(self.response_headers, **self.handshake_rules(lambda: None))

    def logs_info(self) -> bool:
        """Whether records of what connections do are wanted."""
        return self.logger.isEnabledFor(logging.INFO)

    def new_handshake(self, opening: Opening) -> ServerHandshake:
        """The opening handshake on an accepted socket."""
        rules = self.handshake_rules(lambda: opening.connection)
        return ServerHandshake(**rules) if self.admission is None else self.admission.new_handshake(opening, **rules)

    def handshake_rules(self, connection: Callable[[], Any]) -> dict[str, Any]:
        """Arguments of `ServerHandshake`; `connection` returns the connection, which `select_subprotocol` is given."""
        select = self._select_subprotocol
        if select is None:
            return self._rules
        return {**self._rules, "select_subprotocol": lambda handshake, offered: select(connection(), offered)}

    def answer_now(self, opening: Opening, request: Request) -> Response:
        """The answer to a request, where no function of the program has to be asked."""
        response = self._admit(opening, request)
        if response is None:
            response = self.accept(opening, request)
            self._dismiss_refused(opening, response)
        return response

    def _admit(self, opening: Opening, request: Request) -> Response | None:
        """Count a connection until `dismiss`, or return the answer to its request that refuses it."""
        if self.admission is None:
            return None
        too_many = self.admission.enter(opening.connection, request.headers)
        return None if too_many is None else text_response(*too_many)

    def dismiss(self, connection: Any) -> None:
        """A connection has ended, or was never opened."""
        if self.admission is not None:
            self.admission.leave(connection)

    def _dismiss_refused(self, opening: Opening, response: Response) -> None:
        if self.admission is not None and not self.opens(opening, response):
            self.dismiss(opening.connection)

    @staticmethod
    def opens(opening: Opening, response: Response) -> bool:
        """Whether a response opens the connection."""
        return response.status_code == 101 and opening.handshake.exception is None

    def tell_answer(self, opening: Opening, response: Response) -> None:
        """Tell the connection and the log how its request is answered, if one of them is to know."""
        if self.logs_info() or self.opens(opening, response):
            connection = opening.connection
            connection.response = response
            connection.log_head("<", opening.request)
            connection.log_head(">", response)

    def tell_refusal(self, opening: Opening, response: Response) -> None:
        """Tell a connection that was made for a hook, and the log, that a response opens none."""
        if self.logs_info() or opening.made is not None:
            connection, handshake = opening.connection, opening.handshake
            connection.response = response
            connection.log_refusal(response, handshake.exception, handshake.accept_called)

    def accept(self, opening: Opening, request: Request) -> Response:
        """The answer to a request."""
        handshake: ServerHandshake = opening.handshake
        response = handshake.accept(request)
        if handshake.exception is not None and not isinstance(handshake.exception, InvalidHandshake):
            opening.connection.logger.error("opening handshake failed", exc_info=handshake.exception)
        for name, value in self.response_headers.raw_items():
            response.headers.set_insecure(name, value)  # they were checked when the server was made
        return response

    def refuse(self, opening: Opening, error: InvalidHandshake) -> Response:
        """The answer to what isn't a request."""
        if self.logs_info():
            opening.connection.log_info("opening handshake failed", detail=explain(error))
        handshake: ServerHandshake = opening.handshake
        return handshake.refuse(error)

    @staticmethod
    def unavailable() -> Response:
        """The answer of a server that is about to close."""
        return text_response(http.HTTPStatus.SERVICE_UNAVAILABLE, "Server is shutting down.\n")

    # Functions of the user

    async def answer(self, opening: Opening, request: Request) -> Response:
        """The answer to a request that `process_request` and `process_response` may see first."""
        if not self.has_hooks:
            return self.answer_now(opening, request)
        refusal = self._admit(opening, request)
        if refusal is not None:
            return refusal
        response = await self._ask_hooks(opening, request)
        self._dismiss_refused(opening, response)
        return response

    async def _ask_hooks(self, opening: Opening, request: Request) -> Response:
        connection = opening.connection
        response = await self._ask("process_request", self.process_request, connection, request)
        if response is None:
            response = self.accept(opening, request)
        else:
            response.headers.update(self.response_headers)
        connection.response = response  # process_response may look at it there, too
        changed = await self._ask("process_response", self.process_response, connection, request, response)
        return response if changed is None else changed

    async def _ask(self, name: str, hook: Any, connection: Any, *heads: Request | Response) -> Response | None:
        """The answer of such a function, None for none; a fault of it is answered with HTTP 500."""
        if hook is None:
            return None
        try:
            response: Response | None = await settle(hook(connection, *heads))
            for head in (*heads[1:], response):
                if head is not None:
                    head.serialize()  # what can't be sent is a fault of who made it, or changed it in place
        except Exception:
            connection.logger.error("%s failed", name, exc_info=True)
            failure: Response = connection.respond(
                http.HTTPStatus.INTERNAL_SERVER_ERROR,
                "Failed to open a WebSocket connection.\nSee server log for more information.\n",
            )
            return failure
        return response

    @staticmethod
    def log_failure(connection: Any, error: BaseException) -> None:
        """Log that a handler raised an exception; that its peer goes away is no fault of it."""
        if isinstance(error, ConnectionClosed) and connection.lost:
            connection.log_info("connection handler ended", detail=str(error))
        else:
            connection.logger.error("connection handler failed", exc_info=error)

    def log_listening(self, sock: Any) -> None:
        """Log where the server listens."""
        self.logger.info("server listening on %s", get_socket_name(sock))


async def settle(result: Any) -> Any:
    """The result of a function of the user, which may be a coroutine function or not."""
    return await result if inspect.isawaitable(result) else result


def run_now(rule: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for: threads wait inside of the user's functions.

    Raises:
        TypeError: if it waits nevertheless, for a coroutine function of the user.
    """
    try:
        rule.send(None)
        rule.throw(TypeError("with threads, a coroutine function can't be process_request or the like: use a function"))
    except StopIteration as done:
        return done.value
    raise RuntimeError("a coroutine ignored that nobody waits for it")


@functools.cache
def load_what_tracebacks_need() -> None:
    """Format a traceback. Python 3.15 imports what it needs for the first one, which takes a descriptor.

    A server that has run out of descriptors could not log that, and one of asyncio would never accept again.
    """
    try:
        raise OSError
    except OSError:
        traceback.format_exc()


def get_socket_name(sock: Any) -> str:
    """Where a socket listens, for logs: host and port, or the path of a Unix socket."""
    return address_in_words(sock.getsockname())


def adapt_handler(handler: Callable[..., Any]) -> Callable[[Any], Any]:
    """Accept `handler(connection)` and, as older programs have it, `handler(connection, path)`.

    Raises:
        TypeError: if it takes neither.
    """
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # builtins don't tell
        return handler
    for arguments in (1, 2):
        try:
            signature.bind(*[None] * arguments)
        except TypeError:
            continue
        return handler if arguments == 1 else lambda connection: handler(connection, connection.path)
    raise TypeError(f"the handler must take a connection, or a connection and a path, but its signature is {signature}")


class BasicAuth:
    """HTTP Basic authentication (RFC 7617): what `basic_auth` of each driver stands on.

    Args:
        realm: name of the protected space, ASCII.
        credentials: a pair (username, password), or an iterable of them.
        check_credentials: `(username, password) -> bool` instead of `credentials`; a driver may let it be async.

    Raises:
        ValueError: if not exactly one of `credentials` and `check_credentials` is given.
        TypeError: if `credentials` is malformed.
    """

    def __init__(
        self,
        realm: str,
        credentials: tuple[str, str] | Iterable[tuple[str, str]] | None,
        check_credentials: Callable[[str, str], Any] | None,
    ) -> None:
        if (credentials is None) == (check_credentials is None):
            raise ValueError("provide either credentials or check_credentials")
        self._check: Callable[[str, str], Awaitable[bool] | bool] = check_credentials or _checker(credentials)
        self._challenge = build_www_authenticate_basic(realm)

    async def process_request(self, connection: Any, request: Request) -> Response | None:
        """Let a user in whose credentials are valid, or answer with HTTP 401."""
        try:
            authorization = request.headers.get("Authorization")
            if authorization is None:
                return self._unauthorized(connection, "Missing credentials\n")
            username, password = parse_authorization_basic(authorization)
        except (LookupError, InvalidHeader):  # given more than once, or something else
            return self._unauthorized(connection, "Unsupported credentials\n")
        if not await settle(self._check(username, password)):
            return self._unauthorized(connection, "Invalid credentials\n")
        connection.username = username
        return None

    def _unauthorized(self, connection: Any, text: str) -> Response:
        response: Response = connection.respond(http.HTTPStatus.UNAUTHORIZED, text)
        response.headers["WWW-Authenticate"] = self._challenge
        return response


def _checker(credentials: Any) -> Callable[[str, str], bool]:
    pairs = [credentials] if is_credentials(credentials) else credentials
    if isinstance(pairs, Iterable):
        pairs = list(pairs)
    if not isinstance(pairs, list) or not all(is_credentials(pair) for pair in pairs):
        raise TypeError(f"invalid credentials argument: {credentials}")
    known = [(_bytes(username), _bytes(password)) for username, password in cast("list[tuple[str, str]]", pairs)]

    def check(username: str, password: str) -> bool:
        # Compare all of both fields with all pairs, so that the time taken tells nothing.
        equal = False
        for known_username, known_password in known:
            same_username = hmac.compare_digest(_bytes(username), known_username)
            same_password = hmac.compare_digest(_bytes(password), known_password)
            equal |= same_username & same_password
        return equal

    return check


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def is_credentials(credentials: Any) -> bool:
    """Whether it is a pair (username, password)."""
    try:
        username, password = credentials
    except (TypeError, ValueError):
        return False
    return isinstance(username, str) and isinstance(password, str)
