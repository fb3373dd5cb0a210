"""The decisions of a client before, between and after its attempts to connect, on every driver."""

from __future__ import annotations

import functools
import logging
import os
import traceback
import urllib.parse
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, ClassVar, Literal

from trunkline.compiled import warn_of_missing_modules
from trunkline.datastructures import Headers, HeadersLike
from trunkline.exceptions import InvalidMessage, InvalidStatus, InvalidURI, SecurityError
from trunkline.extensions.base import ClientExtensionFactory
from trunkline.extensions.permessage_deflate import enable_client_permessage_deflate
from trunkline.handshake.client import ClientHandshake
from trunkline.http11 import Request
from trunkline.options import Options, check_compression, compresses_all
from trunkline.proxy import Proxy, get_proxy, parse_proxy
from trunkline.typing import LoggerLike, Origin, PathLike, Subprotocol
from trunkline.uri import WebSocketURI, parse_uri

__all__ = ["BaseConnect", "no_response", "opening_request", "unix_arguments"]

MAX_REDIRECTS = int(os.environ.get("WEBSOCKETS_MAX_REDIRECTS", "10"))

REDIRECTS = frozenset({300, 301, 302, 303, 307, 308})

#: Arguments that say where to connect to, whatever the URI says.
PLACES = {
    "host": "an explicit host or port",
    "port": "an explicit host or port",
    "unix": "a Unix socket",
}

CREDENTIALS = ("Authorization", "Cookie", "Proxy-Authorization")


class BaseConnect:
    """The settings of `connect`, and the decisions that follow from them.

    Args:
        uri, origin, subprotocols, compression, additional_headers, user_agent_header, proxy, process_exception,
            reconnect_delays, logger: as for `connect`.
        extensions: factories of extensions to offer, without that of `compression`.
        extra_headers: another name for `additional_headers`.
        options: timeouts and limits.
        arguments: what the driver is told about the network connection.

    Raises:
        ValueError: if an option makes no sense.
    """

    #: That of `arguments` that is a connection already, and what it is.
    CONNECTED: ClassVar[tuple[str, str]] = ("sock", "socket")

    def __init__(
        self,
        uri: str,
        options: Options,
        *,
        origin: Origin | None,
        extensions: Sequence[ClientExtensionFactory] | None,
        subprotocols: Sequence[Subprotocol] | None,
        compression: str | None,
        additional_headers: HeadersLike | None,
        extra_headers: HeadersLike | None,
        user_agent_header: str | None,
        proxy: str | Literal[True] | None,
        process_exception: Callable[[Exception], Exception | None],
        reconnect_delays: Callable[[], Generator[float]],
        logger: LoggerLike | None,
        arguments: dict[str, Any],
    ) -> None:
        warn_of_missing_modules()
        check_compression(compression)
        if compression is not None:
            extensions = enable_client_permessage_deflate(extensions, compresses_all(compression))
        self.uri = uri
        self.options = options
        self.proxy = proxy
        self.additional_headers = extra_headers if additional_headers is None else additional_headers
        self.user_agent_header = user_agent_header
        self.process_exception = process_exception
        self.reconnect_delays = reconnect_delays
        self.logger: LoggerLike = logging.getLogger("websockets.client") if logger is None else logger
        self._new_handshake = functools.partial(
            ClientHandshake, origin=origin, extensions=extensions, subprotocols=subprotocols
        )
        self.arguments = arguments
        self._delays: Generator[float] | None = None
        self._check()

    def _check(self) -> None:
        """Raise what connecting would raise of the arguments, whose mistakes had better show where they are made."""
        uri = parse_uri(self.uri)
        self.tls_settings(uri)
        self._new_handshake(uri)

    # Where to

    def attempts(self) -> Iterator[tuple[WebSocketURI, ClientHandshake]]:
        """Where to connect to, and with which opening handshake; after a redirect, see `follow`, to another place.

        Raises:
            InvalidURI: if the URI isn't one.
            Exception: for what can't be sent, before anything is.
            SecurityError: after too many redirects.
        """
        for _ in range(MAX_REDIRECTS + 1):
            uri = parse_uri(self.uri)
            yield uri, self._new_handshake(uri)
        raise SecurityError(f"more than {MAX_REDIRECTS} redirects")

    def is_connected(self) -> bool:
        """Whether a connection that is open already is to be used."""
        return self.arguments.get(self.CONNECTED[0]) is not None

    def is_placed(self) -> bool:
        """Whether a socket that is connected already, or a Unix socket, is to be used."""
        return self.is_connected() or self.arguments.get("unix") is not None

    def find_proxy(self, uri: WebSocketURI) -> Proxy | None:
        """The proxy to use, or None.

        Raises:
            InvalidProxy: if its address can't be used.
        """
        if self.is_placed():
            return None
        address = get_proxy(uri) if self.proxy is True else self.proxy
        return parse_proxy(address) if address else None

    def tls_settings(self, uri: WebSocketURI) -> dict[str, Any]:
        """For TLS with the server: `ssl`, a context or True for that of `ssl.create_default_context`, and as
        `server_hostname` the name to look for in its certificate. Empty for a `ws://` URI.

        Raises:
            ValueError: if there are settings for a `ws://` URI.
        """
        settings, hostname = self.arguments.get("ssl"), self.arguments.get("server_hostname")
        if uri.secure:
            return {
                "ssl": True if settings is None else settings,
                "server_hostname": uri.host if hostname is None else hostname,
            }
        if settings is not None:
            raise ValueError("ssl argument is incompatible with a ws:// URI")
        return {}

    # Redirects

    def process_redirect(self, exc: BaseException) -> BaseException | str:
        """The URI to go on with, or the exception to raise."""
        if not isinstance(exc, InvalidStatus) or exc.response.status_code not in REDIRECTS:
            return exc
        location = exc.response.headers.get("Location")
        if location is None:
            return exc
        try:
            new_uri = urllib.parse.urljoin(self.uri, location)
        except ValueError as error:
            return InvalidURI(location, str(error))
        if self.is_connected():
            return ValueError(f"cannot follow redirect to {new_uri} with a preexisting {self.CONNECTED[1]}")
        old, new = parse_uri(self.uri), parse_uri(new_uri)
        if old.secure and not new.secure:
            return SecurityError(f"cannot follow redirect to non-secure URI {new_uri}")
        if (old.secure, old.host, old.port) != (new.secure, new.host, new.port):
            for name, place in PLACES.items():
                if self.arguments.get(name) is not None:
                    return ValueError(f"cannot follow cross-origin redirect to {new_uri} with {place}")
            self._forget_credentials()
        return new_uri

    def follow(self, error: BaseException) -> None:
        """Go on with the URI of a redirect, else raise.

        Raises:
            BaseException: `error` itself, or what is wrong with the redirect.
        """
        redirect = self.process_redirect(error)
        if redirect is error:
            raise error
        if not isinstance(redirect, str):
            raise redirect from error
        self.uri = redirect

    def _forget_credentials(self) -> None:
        """The client keeps the credentials for one origin from another (RFC 9110 section 15.4)."""
        if self.additional_headers is not None:
            headers = Headers(self.additional_headers)
            for name in CREDENTIALS:
                if name in headers:
                    del headers[name]
            self.additional_headers = headers

    # Connecting again

    def delay_after(self, error: Exception) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            Exception: `error` or another, if `process_exception` wants no further attempt.
        """
        try:
            processed = self.process_exception(error)
        except Exception as raised:
            raise raised from error
        if processed is error:
            raise error
        if processed is not None:
            raise processed from error
        self._delays = self._delays or self.reconnect_delays()
        delay = next(self._delays)
        summary = traceback.format_exception_only(error)[0].strip()
        self.logger.info("connect failed; reconnecting in %.1f seconds: %s", delay, summary)
        return delay

    def succeeded(self) -> None:
        """The next delays start from the first one."""
        self._delays = None


def opening_request(
    handshake: ClientHandshake, additional_headers: HeadersLike | None, user_agent_header: str | None
) -> Request:
    """The request of an opening handshake, with all its headers."""
    request = handshake.request()
    if additional_headers is not None:
        request.headers.update(additional_headers)
    if user_agent_header is not None:
        request.headers.setdefault("User-Agent", user_agent_header)
    return request


def unix_arguments(
    path: PathLike | None, uri: str | None, kwargs: dict[str, Any], instead: str = "sock"
) -> dict[str, Any]:
    """Arguments of `connect` for a Unix socket; `instead` names the one that takes the place of a path.

    Raises:
        ValueError: if there is neither, or both.
    """
    if uri is None:
        uri = "ws://localhost/" if kwargs.get("ssl") is None else "wss://localhost/"
    if kwargs.get(instead) is not None:
        if path is not None:
            raise ValueError(f"path is incompatible with {instead}")
        return {"uri": uri, "unix": True, **kwargs}
    if path is None:
        raise ValueError("missing path argument")
    return {"uri": uri, "unix": True, "path": path, **kwargs}


def no_response(cause: BaseException | None) -> InvalidMessage:
    """The exception for a connection that ended before the response."""
    failure = InvalidMessage("did not receive a valid HTTP response")
    failure.__cause__ = cause or EOFError("connection closed while reading HTTP status line")
    return failure
