"""What a server decides, on every driver: how a request is answered, who may log in, how a handler is called."""

from __future__ import annotations

import hmac
import http
import inspect
import logging
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from trunkline.datastructures import Headers, HeadersLike
from trunkline.exceptions import InvalidHandshake, InvalidHeader
from trunkline.extensions.permessage_deflate import enable_server_permessage_deflate
from trunkline.handshake.headers import build_www_authenticate_basic, parse_authorization_basic
from trunkline.handshake.server import ServerHandshake
from trunkline.http11 import SERVER, Request, Response
from trunkline.options import Options, check_compression

if TYPE_CHECKING:
    from trunkline.extensions.base import ServerExtensionFactory
    from trunkline.typing import LoggerLike, Origin, Subprotocol

__all__ = ["BaseServer", "BasicAuth", "adapt_handler", "is_credentials"]

SelectSubprotocol = Callable[[Any, "Sequence[Subprotocol]"], "Subprotocol | None"]


class BaseServer:
    """What `serve` was told, and what follows from it.

    Args:
        handler, origins, extensions, subprotocols, select_subprotocol, compression, process_request, process_response,
            server_header, extra_headers, logger: as for `serve`.
        options: timeouts and limits.

    Raises:
        TypeError: if the handler takes neither one nor two arguments.
        ValueError: if an option makes no sense.
    """

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
    ) -> None:
        check_compression(compression)
        if compression is not None:
            extensions = enable_server_permessage_deflate(extensions)
        self.handler = adapt_handler(handler)
        self.options = options or Options()
        self.process_request = process_request
        self.process_response = process_response
        self.logger: LoggerLike = logging.getLogger("websockets.server") if logger is None else logger
        self.response_headers = Headers(extra_headers)
        if server_header is not None:
            self.response_headers["Server"] = server_header
        self._origins = origins
        self._extensions = extensions
        self._subprotocols = subprotocols
        self._select_subprotocol = select_subprotocol
        ServerHandshake(subprotocols=subprotocols)  # raises for what can't be one, before the first client comes

    def new_handshake(self, connection: Any) -> ServerHandshake:
        """The opening handshake of a connection."""
        select = self._select_subprotocol
        return ServerHandshake(
            origins=self._origins,
            extensions=self._extensions,
            subprotocols=self._subprotocols,
            select_subprotocol=None if select is None else lambda handshake, offered: select(connection, offered),
        )

    def accept(self, handshake: ServerHandshake, request: Request) -> Response:
        """The answer to a request."""
        response = handshake.accept(request)
        if handshake.exception is not None and not isinstance(handshake.exception, InvalidHandshake):
            self.logger.error("opening handshake failed", exc_info=handshake.exception)
        for name, value in self.response_headers.raw_items():
            response.headers.set_insecure(name, value)  # they were checked when the server was made
        return response

    def refuse(self, handshake: ServerHandshake, error: InvalidHandshake) -> Response:
        """The answer to what isn't a request."""
        self.logger.info("opening handshake failed: %s", error)
        return handshake.refuse(error)

    # Hooks: functions of the user that see requests and responses

    def hook_failed(self, name: str, handshake: ServerHandshake) -> Response:
        """The answer when a hook raised an exception; call it while that is being handled."""
        self.logger.error("%s failed", name, exc_info=True)
        return handshake.reject(
            http.HTTPStatus.INTERNAL_SERVER_ERROR,
            "Failed to open a WebSocket connection.\nSee server log for more information.\n",
        )

    @staticmethod
    def check_heads(*heads: Request | Response | None) -> None:
        """What can't be sent is a fault of the hook that made it, or changed it in place.

        Raises:
            Exception: if one can't be sent.
        """
        for head in heads:
            if head is not None:
                head.serialize()


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
        TypeError: if not exactly one of `credentials` and `check_credentials` is given, or `credentials` is malformed.
    """

    def __init__(
        self,
        realm: str,
        credentials: tuple[str, str] | Iterable[tuple[str, str]] | None,
        check_credentials: Callable[[str, str], Any] | None,
    ) -> None:
        if (credentials is None) == (check_credentials is None):
            raise TypeError("provide either credentials or check_credentials")
        self.check = check_credentials or _checker(credentials)
        self._challenge = build_www_authenticate_basic(realm)

    def credentials(self, connection: Any, request: Request) -> tuple[str, str] | Response:
        """Username and password of a request, or the answer to one that has none."""
        try:
            authorization = request.headers.get("Authorization")
        except LookupError:  # given more than once
            return self._unauthorized(connection, "Unsupported credentials\n")
        if authorization is None:
            return self._unauthorized(connection, "Missing credentials\n")
        try:
            return parse_authorization_basic(authorization)
        except InvalidHeader:
            return self._unauthorized(connection, "Unsupported credentials\n")

    def decide(self, connection: Any, username: str, valid: bool) -> Response | None:
        """Let a user in whose credentials are valid, or answer."""
        if not valid:
            return self._unauthorized(connection, "Invalid credentials\n")
        connection.username = username
        return None

    def _unauthorized(self, connection: Any, text: str) -> Response:
        response: Response = connection.respond(http.HTTPStatus.UNAUTHORIZED, text)
        response.headers["WWW-Authenticate"] = self._challenge
        return response


def _checker(credentials: Any) -> Callable[[str, str], bool]:
    pairs = [credentials] if is_credentials(credentials) else list(credentials)
    if not all(is_credentials(pair) for pair in pairs):
        raise TypeError(f"credentials are {credentials!r}: they must be (username, password), or a list of such")
    known = [(_bytes(username), _bytes(password)) for username, password in cast("list[tuple[str, str]]", pairs)]

    def check(username: str, password: str) -> bool:
        # Compare all of both fields with all pairs, so that the time taken tells nothing.
        found = False
        for known_username, known_password in known:
            same_username = hmac.compare_digest(_bytes(username), known_username)
            same_password = hmac.compare_digest(_bytes(password), known_password)
            found |= same_username & same_password
        return found

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
