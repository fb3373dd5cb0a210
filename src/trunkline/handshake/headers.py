"""Grammar of the headers of the opening handshake (RFC 6455 section 9.1, RFC 9110 section 5.6).

Every parser takes time linear in the header: each regular expression matches in one way only and never backtracks.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..datastructures import Headers
from ..exceptions import InvalidHeader, InvalidHeaderFormat, InvalidHeaderValue
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
    "get_header",
    "parse_authorization_basic",
    "parse_connection",
    "parse_extension",
    "parse_subprotocol",
    "parse_upgrade",
    "require_header",
    "validate_subprotocols",
]

Item = TypeVar("Item")

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # RFC 9110 section 5.6.2
_token = re.compile(_TOKEN)
_protocol = re.compile(rf"{_TOKEN}(?:/{_TOKEN})?")  # RFC 9110 section 7.8
_quoted_string = re.compile(r'"((?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*)"')  # RFC 9110 section 5.6.4
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
    return parse_list(parse_connection_option, header, 0, "Connection")


def parse_upgrade(header: str) -> list[UpgradeProtocol]:
    """Read an Upgrade header (RFC 9110 section 7.8).

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
    """
    if _token.fullmatch(header):
        return [UpgradeProtocol(header)]
    return parse_list(parse_upgrade_protocol, header, 0, "Upgrade")


def parse_subprotocol(header: str) -> list[Subprotocol]:
    """Read a Sec-WebSocket-Protocol header (RFC 6455 section 11.3.4).

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
    """
    return parse_list(parse_subprotocol_item, header, 0, "Sec-WebSocket-Protocol")


def parse_extension(header: str) -> list[ExtensionHeader]:
    """Read a Sec-WebSocket-Extensions header (RFC 6455 section 9.1).

    Returns:
        Pairs of an extension's name and its parameters, for example
        ``[("permessage-deflate", [("client_max_window_bits", None)])]``.

    Raises:
        InvalidHeaderFormat: if it doesn't follow its grammar.
    """
    return parse_list(parse_extension_item, header, 0, "Sec-WebSocket-Extensions")


def build_extension(extensions: Sequence[ExtensionHeader]) -> str:
    """Return the value of a Sec-WebSocket-Extensions header; the reverse of :func:`parse_extension`.

    Raises:
        ValueError: if a name or a value isn't a token.
    """
    return ", ".join(build_extension_item(name, parameters) for name, parameters in extensions)


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
    if not isinstance(subprotocols, Sequence):
        raise TypeError("subprotocols must be a list")
    if isinstance(subprotocols, str):
        raise TypeError("subprotocols must be a list, not a str")
    for subprotocol in subprotocols:
        if not _token.fullmatch(subprotocol):
            raise ValueError(f"invalid subprotocol: {subprotocol}")


def build_www_authenticate_basic(realm: str) -> str:
    """Return the value of a WWW-Authenticate header that asks for Basic authentication (RFC 7617 section 2).

    Args:
        realm: what the credentials are for.

    Raises:
        ValueError: if the realm contains control characters.
    """
    return f'Basic realm={build_quoted_string(realm)}, charset="UTF-8"'


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


# The grammar, a rule at a time: each function reads at a position, and returns what it read and the position behind it.
# `header_name` is for errors, all of which are InvalidHeaderFormat.


def peek_ahead(header: str, pos: int) -> str | None:
    """Return the next character, or None at the end."""
    return header[pos] if pos < len(header) else None


def parse_OWS(header: str, pos: int) -> int:  # noqa: N802  # as RFC 9110 section 5.6.3 writes it
    """Return the position after optional whitespace."""
    return _skip(_whitespace, header, pos)


def parse_token(header: str, pos: int, header_name: str) -> tuple[str, int]:
    """Read a token (RFC 9110 section 5.6.2)."""
    return _expect("token", _token, header, pos, header_name)


def parse_token68(header: str, pos: int, header_name: str) -> tuple[str, int]:
    """Read credentials as a token68 (RFC 9110 section 11.2)."""
    return _expect("token68", _token68, header, pos, header_name)


def parse_quoted_string(header: str, pos: int, header_name: str) -> tuple[str, int]:
    """Read a quoted string (RFC 9110 section 5.6.4), and return it without the quotes."""
    quoted, pos = _expect("quoted string", _quoted_string, header, pos, header_name)
    return re.sub(r"\\(.)", r"\1", quoted[1:-1]), pos


def build_quoted_string(value: str) -> str:
    """Return a quoted string; the reverse of :func:`parse_quoted_string`.

    Raises:
        ValueError: if the value contains control characters.
    """
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if not _quoted_string.fullmatch(quoted):
        raise ValueError(f"invalid value {value!r}: use printable ISO-8859-1 characters")
    return quoted


def parse_list(
    parse_item: Callable[[str, int, str], tuple[Item, int]], header: str, pos: int, header_name: str
) -> list[Item]:
    """Read a list of at least one item, up to the end of the header (RFC 9110 section 5.6.1)."""
    items: list[Item] = []
    if peek_ahead(header, pos) == ",":
        pos = _skip(_list_separator, header, pos)
    while pos < len(header) or not items:
        item, pos = parse_item(header, pos, header_name)
        items.append(item)
        pos = parse_OWS(header, pos)
        if pos < len(header) and header[pos] != ",":
            raise InvalidHeaderFormat(header_name, "expected comma", header, pos)
        pos = _skip(_list_separator, header, pos)
    return items


def parse_end(header: str, pos: int, header_name: str) -> None:
    """Check that the header ends here."""
    if pos < len(header):
        raise InvalidHeaderFormat(header_name, "trailing data", header, pos)


def parse_connection_option(header: str, pos: int, header_name: str) -> tuple[ConnectionOption, int]:
    """Read an item of a Connection header (RFC 9110 section 7.6.1)."""
    option, pos = parse_token(header, pos, header_name)
    return ConnectionOption(option), pos


def parse_upgrade_protocol(header: str, pos: int, header_name: str) -> tuple[UpgradeProtocol, int]:
    """Read an item of an Upgrade header (RFC 9110 section 7.8)."""
    protocol, pos = _expect("protocol", _protocol, header, pos, header_name)
    return UpgradeProtocol(protocol), pos


def parse_subprotocol_item(header: str, pos: int, header_name: str) -> tuple[Subprotocol, int]:
    """Read an item of a Sec-WebSocket-Protocol header (RFC 6455 section 11.3.4)."""
    subprotocol, pos = parse_token(header, pos, header_name)
    return Subprotocol(subprotocol), pos


def parse_extension_item(header: str, pos: int, header_name: str) -> tuple[ExtensionHeader, int]:
    """Read an item of a Sec-WebSocket-Extensions header (RFC 6455 section 9.1)."""
    extension, pos = parse_token(header, pos, header_name)
    parameters = []
    while peek_ahead(header, pos := parse_OWS(header, pos)) == ";":
        parameter, pos = parse_extension_item_param(header, parse_OWS(header, pos + 1), header_name)
        parameters.append(parameter)
    return (ExtensionName(extension), parameters), pos


def parse_extension_item_param(header: str, pos: int, header_name: str) -> tuple[ExtensionParameter, int]:
    """Read a parameter of an extension (RFC 6455 section 9.1)."""
    parameter, pos = parse_token(header, pos, header_name)
    pos = parse_OWS(header, pos)
    if peek_ahead(header, pos) != "=":
        return (parameter, None), pos
    pos = parse_OWS(header, pos + 1)
    if peek_ahead(header, pos) != '"':
        value, pos = parse_token(header, pos, header_name)
        return (parameter, value), parse_OWS(header, pos)
    value, end = parse_quoted_string(header, pos, header_name)
    if not _token.fullmatch(value):  # section 9.1: it must be a token once unquoted
        raise InvalidHeaderFormat(header_name, "invalid quoted header content", header, pos)
    return (parameter, value), parse_OWS(header, end)


def build_extension_item(name: ExtensionName, parameters: Sequence[ExtensionParameter]) -> str:
    """Return an item of a Sec-WebSocket-Extensions header; the reverse of :func:`parse_extension_item`.

    Raises:
        ValueError: if a name or a value isn't a token.
    """
    return "; ".join([_check_token(name), *(_build_parameter(*parameter) for parameter in parameters)])


parse_extension_list = parse_extension
parse_subprotocol_list = parse_subprotocol
build_extension_list = build_extension
build_subprotocol_list = build_subprotocol


def _expect(what: str, pattern: re.Pattern[str], header: str, pos: int, header_name: str) -> tuple[str, int]:
    match = pattern.match(header, pos)
    if match is None:
        raise InvalidHeaderFormat(header_name, f"expected {what}", header, pos)
    return match[0], match.end()


def _skip(pattern: re.Pattern[str], header: str, pos: int) -> int:
    """Return the position after ``pattern``, which matches anywhere, at least nothing."""
    match = pattern.match(header, pos)
    assert match is not None
    return match.end()


def _build_parameter(name: str, value: str | None) -> str:
    return _check_token(name) if value is None else f"{_check_token(name)}={_check_token(value)}"


def _check_token(value: str) -> str:
    if not _token.fullmatch(value):
        raise ValueError(f"{value!r} isn't a token (RFC 9110 section 5.6.2)")
    return value


def get_header(headers: Headers, name: str) -> str | None:
    """Return the value of a header that may appear once, or None.

    Raises:
        InvalidHeader: if it appears more than once.
    """
    values = headers.get_all(name)
    if len(values) > 1:
        raise InvalidHeader(name, "multiple values")
    return values[0] if values else None


def require_header(headers: Headers, name: str) -> str:
    """Return the value of a header that must appear exactly once.

    Raises:
        InvalidHeader: if it doesn't.
    """
    value = get_header(headers, name)
    if value is None:
        raise InvalidHeader(name)
    return value
