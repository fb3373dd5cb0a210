"""WebSocket URIs (RFC 6455 section 3)."""

from __future__ import annotations

import dataclasses
import re
import urllib.parse

from .exceptions import InvalidURI

__all__ = ["WebSocketURI", "parse_uri"]

_DEFAULT_PORTS = {"ws": 80, "wss": 443}

_VISIBLE_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_find_forbidden = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]").search
_is_host = re.compile(r"[!$%&'()*+,\-.0-9:;=A-Z_a-z~]++").fullmatch  # RFC 3986 section 3.2.2; colons for IPv6


@dataclasses.dataclass
class WebSocketURI:
    """A WebSocket URI, taken apart.

    Args:
        secure: True for ``wss``.
        host: the host in lower case; a name in other scripts in its IDNA form; an IPv6 address without brackets.
        port: the port, the scheme's default if the URI has none.
        path: the path, maybe empty.
        query: the query, without the question mark, maybe empty.
        username: from the user info, percent-decoded.
        password: from the user info, percent-decoded.
    """

    secure: bool
    host: str
    port: int
    path: str
    query: str
    username: str | None = None
    password: str | None = None

    @property
    def resource_name(self) -> str:
        """The path and query to ask the server for (RFC 6455 section 3)."""
        path = self.path or "/"
        return f"{path}?{self.query}" if self.query else path

    @property
    def user_info(self) -> tuple[str, str] | None:
        """Username and password, or None."""
        if self.username is None or self.password is None:
            return None
        return self.username, self.password


def parse_uri(uri: str) -> WebSocketURI:
    """Take a WebSocket URI apart. Characters outside ASCII are allowed, as in an IRI (RFC 3987).

    Raises:
        InvalidURI: if ``uri`` isn't a WebSocket URI.
    """
    if _find_forbidden(uri):
        raise InvalidURI(uri, "it contains control characters or lone surrogates; percent-encode them")
    try:
        parts = urllib.parse.urlsplit(uri)
        port = parts.port
    except ValueError as exc:
        raise InvalidURI(uri, str(exc)) from exc
    if parts.scheme not in _DEFAULT_PORTS:
        raise InvalidURI(uri, "scheme isn't ws or wss")
    if not parts.hostname:
        raise InvalidURI(uri, "hostname isn't provided")
    if parts.fragment:
        raise InvalidURI(uri, "fragment identifier is meaningless")  # RFC 6455 section 3
    username, password = _parse_user_info(uri, parts)
    return WebSocketURI(
        secure=parts.scheme == "wss",
        host=_parse_host(uri, parts.hostname),
        port=_DEFAULT_PORTS[parts.scheme] if port is None else port,
        path=_percent_encode(parts.path),
        query=_percent_encode(parts.query),
        username=username,
        password=password,
    )


def _parse_user_info(uri: str, parts: urllib.parse.SplitResult) -> tuple[str | None, str | None]:
    if parts.username is None:
        return None, None
    if parts.password is None:
        raise InvalidURI(uri, "username provided without password")
    # surrogateescape carries bytes that aren't UTF-8 through to the Authorization header
    return (
        urllib.parse.unquote(parts.username, errors="surrogateescape"),
        urllib.parse.unquote(parts.password, errors="surrogateescape"),
    )


def _parse_host(uri: str, hostname: str) -> str:
    try:
        host = hostname if hostname.isascii() else hostname.encode("idna").decode("ascii")
    except UnicodeError as exc:
        raise InvalidURI(uri, f"hostname {hostname!r} isn't an internationalized domain name") from exc
    if not _is_host(host):
        raise InvalidURI(uri, f"hostname {host!r} contains characters that aren't allowed")
    return host


def _percent_encode(text: str) -> str:
    """Map an IRI's characters to a URI's (RFC 3987 section 3.1); leave what is visible ASCII as it is."""
    return urllib.parse.quote(text, safe=_VISIBLE_ASCII)
