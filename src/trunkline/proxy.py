"""Which proxy leads to a server, and how to ask it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import urllib.parse
from collections.abc import Iterator
from typing import Any

from .datastructures import Headers
from .exceptions import InvalidHandshake, InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, ProxyError
from .handshake.head import ResponseReader
from .handshake.headers import build_authorization_basic, build_host
from .http11 import USER_AGENT, Request
from .uri import WebSocketURI

__all__ = ["Proxy", "Tunnel", "get_proxy", "parse_proxy"]

# RFC 9110 section 4.2; RFC 1928 section 3 for SOCKS
_DEFAULT_PORTS = {"http": 80, "https": 443, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}


@dataclasses.dataclass
class Proxy:
    """The address of a proxy, taken apart.

    Args:
        scheme: ``"http"``, ``"https"``, ``"socks4"``, ``"socks4a"``, ``"socks5"`` or ``"socks5h"``; with socks4a and
            socks5h the proxy looks the server's name up.
        host: the host in lower case; an IPv6 address without brackets.
        port: the port; by default 80 or 443 for HTTP, 1080 for SOCKS.
        username: from the user info, percent-decoded.
        password: from the user info, percent-decoded.
    """

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = None

    @property
    def user_info(self) -> tuple[str, str] | None:
        """Username and password, or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password


def parse_proxy(proxy: str) -> Proxy:
    """Take the address of a proxy apart.

    Raises:
        InvalidProxy: if it isn't one.
    """
    try:
        parts = urllib.parse.urlsplit(proxy)
        host, port = parts.hostname, parts.port
        if host is not None:
            host = host.encode("idna").decode("ascii") if not host.isascii() else host
    except ValueError as exc:  # UnicodeError is one
        raise InvalidProxy(proxy, str(exc)) from exc
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidProxy(proxy, f"scheme {parts.scheme} isn't supported")
    if not host:
        raise InvalidProxy(proxy, "hostname isn't provided")
    for name, value in (("path", parts.path.removeprefix("/")), ("query", parts.query), ("fragment", parts.fragment)):
        if value:
            raise InvalidProxy(proxy, f"{name} is meaningless")
    if parts.username is not None and parts.password is None:
        raise InvalidProxy(proxy, "username provided without password")
    return Proxy(
        parts.scheme,
        host,
        _DEFAULT_PORTS[parts.scheme] if port is None else port,
        None if parts.username is None else urllib.parse.unquote(parts.username, errors="surrogateescape"),
        None if parts.password is None else urllib.parse.unquote(parts.password, errors="surrogateescape"),
    )


def get_proxy(uri: WebSocketURI) -> str | None:
    """The proxy that the environment, or on macOS and Windows the system's settings, name for a server, or None.

    The first of these variables counts: ``wss_proxy`` for ``wss://``, else ``ws_proxy``; ``socks_proxy``;
    ``https_proxy``; and for ``ws://`` also ``http_proxy``. ``no_proxy`` lists servers to reach without a proxy.
    """
    import urllib.request  # slow to import, and most programs don't connect

    if urllib.request.proxy_bypass(f"{uri.host}:{uri.port}"):
        return None
    proxies = urllib.request.getproxies()
    for name in ("wss", "socks", "https") if uri.secure else ("ws", "socks", "https", "http"):
        if name in proxies:
            # getproxies() takes the settings of macOS for addresses of HTTP proxies.
            return proxies[name].replace("http://", "socks5h://", 1) if name == "socks" else proxies[name]
    return None


def connect_request(proxy: Proxy, host: str, port: int, user_agent_header: str | None = USER_AGENT) -> bytes:
    """A request for a tunnel to a server (RFC 9110 section 9.3.6)."""
    authority = build_host(host, port, False, always_include_port=True)
    headers = Headers(Host=authority)
    if user_agent_header is not None:
        headers["User-Agent"] = user_agent_header
    if proxy.user_info is not None:
        headers["Proxy-Authorization"] = build_authorization_basic(*proxy.user_info)
    return Request(authority, headers, "CONNECT").serialize()


class Tunnel:
    """The conversation with an HTTP proxy until it has opened a tunnel.

    Attributes:
        request: bytes to send to the proxy.
    """

    def __init__(self, proxy: Proxy, host: str, port: int, user_agent_header: str | None = USER_AGENT) -> None:
        self.request = connect_request(proxy, host, port, user_agent_header)
        self._reader = ResponseReader(head_only=True)

    def receive_data(self, data: bytes) -> bool:
        """Take bytes from the proxy; True when there is a tunnel.

        Raises:
            InvalidProxyStatus: if the proxy refuses.
            InvalidProxyMessage: if that is no response to our request.
        """
        try:
            response = self._reader.receive_data(data)
        except InvalidHandshake as error:
            cause = error.__cause__ or error
            raise self.failure(cause) from cause
        if response is None:
            return False
        if not 200 <= response.status_code < 300:
            raise InvalidProxyStatus(response)
        if self._reader.remaining:
            # Neither TLS nor WebSocket lets the server speak first: it comes from the proxy.
            raise self.failure(ValueError(f"{len(self._reader.remaining)} bytes follow the response"))
        return True

    @staticmethod
    def failure(cause: BaseException | None = None) -> InvalidProxyMessage:
        """The exception for a connection that ended before there was a tunnel."""
        failure = InvalidProxyMessage("did not receive a valid HTTP response from proxy")
        failure.__cause__ = cause or EOFError("connection closed before the end of the response")
        return failure


def check_proxy_tls(proxy: Proxy, ssl: object) -> None:
    """Refuse TLS settings for a proxy without TLS.

    Raises:
        ValueError: if there are any.
    """
    if proxy.scheme != "https" and ssl is not None:
        raise ValueError(f"proxy_ssl argument is incompatible with an {proxy.scheme}:// proxy")


def socks_proxy(proxy: Proxy, implementation: str) -> Any:
    """The `Proxy` of python-socks.

    Args:
        proxy: the proxy.
        implementation: "sync", "async_.asyncio" or "async_.trio".

    Raises:
        ImportError: if python-socks isn't installed.
    """
    try:
        import python_socks

        socks = importlib.import_module(f"python_socks.{implementation}")
    except ImportError as error:
        raise ImportError(
            "connecting through a SOCKS proxy needs python-socks: pip install 'trunkline[proxy]'"
        ) from error
    kind = python_socks.ProxyType.SOCKS4 if proxy.scheme.startswith("socks4") else python_socks.ProxyType.SOCKS5
    rdns = proxy.scheme in ("socks4a", "socks5h")
    return socks.Proxy(kind, proxy.host, proxy.port, proxy.username, proxy.password, rdns)


@contextlib.contextmanager
def socks_failures() -> Iterator[None]:
    """Wherein a client connects through a SOCKS proxy.

    Raises:
        OSError: if the proxy can't be reached, or in time.
        ProxyError: if it doesn't reach the server; its cause says why.
    """
    try:
        yield
    except OSError:  # TimeoutError is one
        raise
    except Exception as error:
        raise ProxyError("failed to connect to SOCKS proxy") from error
