"""Grammar of the headers of the opening handshake (RFC 6455 section 9.1, RFC 9110 section 5.6).

Every parser takes time linear in the header: each regular expression matches in one way only and never backtracks.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..exceptions import InvalidHeaderFormat, InvalidHeaderValue
from ..typing import (
    ConnectionOption,
    ExtensionHeader,
    ExtensionName,
    ExtensionParameter,
    Subprotocol,
    UpgradeProtocol,
)

__all__ = [
    "build_authorization_basic",
    "build_extension",
    "build_host",
    "build_subprotocol",
    "build_www_authenticate_basic",
    "parse_authorization_basic",
    "parse_connection",
    "parse_extension",
    "parse_subprotocol",
    "parse_upgrade",
    "validate_subprotocols",
]

Item = TypeVar("Item")

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # RFC 9110 section 5.6.2
_token = re.compile(_TOKEN)
_protocol = re.compile(rf"{_TOKEN}(?:/{_TOKEN})?+")  # RFC 9110 section 7.8
_quoted_string = re.compile(r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+)"')  # RFC 9110 section 5.6.4
_token68 = re.compile(r"[A-Za-z0-9\-._~+/]++=*+")  # RFC 9110 section 11.2
_whitespace = re.compile(r"[ \t]*+")  # RFC 9110 section 5.6.3
_list_separator = re.compile(r"[ \t,]*+")  # RFC 9110 section 5.6.1.2: recipients accept empty elements


def build_host(host: str, port: int, secure: bool, *, always_include_port: bool = False) -> str:
    """Return the value of a Host header (RFC 9110 section 7.2).

    Args:
        host: a name, or an IPv4 or IPv6 address without brackets.
        port: the port.
        secure: whether the connection uses TLS.
        always_include_port: whether to write the port even if it is the scheme's default.
    """
    if ":" in host:
        host = f"[{host}]"  # RFC 3986 section 3.2.2
    if port == (443 if secure else 80) and not always_include_port:
        return host
    return f"{host}:{port}"


def parse_connection(header: str) -> list[ConnectionOption]:
    """Read a Connection header (RFC 9110 section 7.6.1).

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
    """
    if _token.fullmatch(header):  # almost always
        return [ConnectionOption(header)]
    return [ConnectionOption(option) for option in _parse_list(_parse_token, header, "Connection")]


def parse_upgrade(header: str) -> list[UpgradeProtocol]:
    """Read an Upgrade header (RFC 9110 section 7.8).

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
    """
    if _token.fullmatch(header):
        return [UpgradeProtocol(header)]
    return [UpgradeProtocol(protocol) for protocol in _parse_list(_parse_protocol, header, "Upgrade")]


def parse_subprotocol(header: str) -> list[Subprotocol]:
    """Read a Sec-WebSocket-Protocol header (RFC 6455 section 11.3.4).

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
    """
    return [Subprotocol(name) for name in _parse_list(_parse_token, header, "Sec-WebSocket-Protocol")]


def parse_extension(header: str) -> list[ExtensionHeader]:
    """Read a Sec-WebSocket-Extensions header (RFC 6455 section 9.1).

    Returns:
        Pairs of an extension's name and its parameters, for example
        ``[("permessage-deflate", [("client_max_window_bits", None)])]``.

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
    """
    return _parse_list(_parse_extension_item, header, "Sec-WebSocket-Extensions")


def build_extension(extensions: Sequence[ExtensionHeader]) -> str:
    """Return the value of a Sec-WebSocket-Extensions header; the reverse of :func:`parse_extension`.

    Raises:
        ValueError: if a name or a value isn't a token.
    """
    return ", ".join(
        "; ".join([_check_token(name), *(_build_parameter(*parameter) for parameter in parameters)])
        for name, parameters in extensions
    )


def build_subprotocol(subprotocols: Sequence[Subprotocol]) -> str:
    """Return the value of a Sec-WebSocket-Protocol header; the reverse of :func:`parse_subprotocol`.

    Raises:
        ValueError: if a name isn't a token.
    """
    return ", ".join(map(_check_token, subprotocols))


def validate_subprotocols(subprotocols: Sequence[Subprotocol]) -> None:
    """Check a ``subprotocols`` argument.

    Raises:
        TypeError: if it isn't a sequence of strings.
        ValueError: if a name isn't a token (RFC 6455 section 4.1).
    """
    if isinstance(subprotocols, str) or not isinstance(subprotocols, Sequence):
        raise TypeError(f"subprotocols must be a list of strings, not {subprotocols!r}")
    for subprotocol in subprotocols:
        if not _token.fullmatch(subprotocol):
            raise ValueError(f"invalid subprotocol: {subprotocol!r} isn't a token (RFC 9110 section 5.6.2)")


def build_www_authenticate_basic(realm: str) -> str:
    """Return the value of a WWW-Authenticate header that asks for Basic authentication (RFC 7617 section 2).

    Args:
        realm: what the credentials are for.

    Raises:
        ValueError: if the realm contains control characters.
    """
    quoted = '"' + realm.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if not _quoted_string.fullmatch(quoted):
        raise ValueError(f"invalid realm {realm!r}: use printable ISO-8859-1 characters")
    return f'Basic realm={quoted}, charset="UTF-8"'


def parse_authorization_basic(header: str) -> tuple[str, str]:
    """Read an Authorization header with Basic credentials (RFC 7617 section 2).

    Returns:
        Username and password; bytes that aren't UTF-8 become lone surrogates.

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
        InvalidHeaderValue: if it isn't Basic, or not a base64-encoded ``username:password``.
    """
    scheme, space, credentials = header.partition(" ")
    # The errors keep the credentials to themselves: they end up in logs
    if not _token.fullmatch(scheme):
        raise InvalidHeaderFormat("Authorization", "expected token", "the scheme", 0)
    if scheme.lower() != "basic":
        raise InvalidHeaderValue("Authorization", f"unsupported scheme: {scheme}")
    if not space:
        raise InvalidHeaderFormat("Authorization", "expected space after scheme", header, len(scheme))
    if not _token68.fullmatch(credentials):
        raise InvalidHeaderFormat("Authorization", "expected token68", f"{scheme} ...", len(scheme) + 1)
    try:
        user_pass = base64.b64decode(credentials, validate=True).decode(errors="surrogateescape")
    except binascii.Error:
        raise InvalidHeaderValue("Authorization", "expected base64-encoded credentials") from None
    username, colon, password = user_pass.partition(":")
    if not colon:
        raise InvalidHeaderValue("Authorization", "expected username:password credentials")
    return username, password


def build_authorization_basic(username: str, password: str) -> str:
    """Return the value of an Authorization header with Basic credentials (RFC 7617 section 2).

    Raises:
        ValueError: if the username contains a colon.
    """
    if ":" in username:
        raise ValueError(f"invalid username {username!r}: a colon would start the password")
    user_pass = f"{username}:{password}".encode(errors="surrogateescape")
    return "Basic " + base64.b64encode(user_pass).decode("ascii")


def _parse_list(parse_item: Callable[[str, int, str], tuple[Item, int]], header: str, name: str) -> list[Item]:
    """Read a list of at least one item (RFC 9110 section 5.6.1)."""
    items: list[Item] = []
    pos = _skip(_list_separator, header, 0)
    while pos < len(header) or not items:
        item, pos = parse_item(header, pos, name)
        items.append(item)
        pos = _skip(_whitespace, header, pos)
        if pos < len(header) and header[pos] != ",":
            raise InvalidHeaderFormat(name, "expected comma", header, pos)
        pos = _skip(_list_separator, header, pos)
    return items


def _skip(pattern: re.Pattern[str], header: str, pos: int) -> int:
    """Return the position after ``pattern``, which matches anywhere, at least nothing."""
    match = pattern.match(header, pos)
    assert match is not None
    return match.end()


def _parse_token(header: str, pos: int, name: str) -> tuple[str, int]:
    match = _token.match(header, pos)
    if match is None:
        raise InvalidHeaderFormat(name, "expected token", header, pos)
    return match[0], match.end()


def _parse_protocol(header: str, pos: int, name: str) -> tuple[str, int]:
    match = _protocol.match(header, pos)
    if match is None:
        raise InvalidHeaderFormat(name, "expected protocol", header, pos)
    return match[0], match.end()


def _parse_extension_item(header: str, pos: int, name: str) -> tuple[ExtensionHeader, int]:
    extension, pos = _parse_token(header, pos, name)
    parameters = []
    while (semicolon := _skip(_whitespace, header, pos)) < len(header) and header[semicolon] == ";":
        parameter, pos = _parse_parameter(header, _skip(_whitespace, header, semicolon + 1), name)
        parameters.append(parameter)
    return (ExtensionName(extension), parameters), pos


def _parse_parameter(header: str, pos: int, name: str) -> tuple[ExtensionParameter, int]:
    parameter, pos = _parse_token(header, pos, name)
    equals = _skip(_whitespace, header, pos)
    if header[equals : equals + 1] != "=":
        return (parameter, None), pos
    value_pos = _skip(_whitespace, header, equals + 1)
    if header[value_pos : value_pos + 1] == '"':
        value, pos = _parse_quoted_token(header, value_pos, name)
    else:
        value, pos = _parse_token(header, value_pos, name)
    return (parameter, value), pos


def _parse_quoted_token(header: str, pos: int, name: str) -> tuple[str, int]:
    """Read a quoted value, which must be a token once unquoted (RFC 6455 section 9.1)."""
    match = _quoted_string.match(header, pos)
    if match is None:
        raise InvalidHeaderFormat(name, "expected quoted string", header, pos)
    value = re.sub(r"\\(.)", r"\1", match[1])
    if not _token.fullmatch(value):
        raise InvalidHeaderFormat(name, "invalid quoted header content", header, pos)
    return value, match.end()


def _build_parameter(name: str, value: str | None) -> str:
    return _check_token(name) if value is None else f"{_check_token(name)}={_check_token(value)}"


def _check_token(value: str) -> str:
    if not _token.fullmatch(value):
        raise ValueError(f"{value!r} isn't a token (RFC 9110 section 5.6.2)")
    return value
