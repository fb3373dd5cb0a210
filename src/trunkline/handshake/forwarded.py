"""Where a request comes from that proxies passed on: Forwarded (RFC 7239), X-Forwarded-For and X-Forwarded-Proto.

A client can write these headers itself, so an entry counts only if a trusted proxy added it. `TrustedProxies` reads the
entries from the last one to the first. The first address that isn't one of a trusted proxy is that of the client.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..datastructures import Headers

__all__ = ["Client", "TrustedProxies"]

_PARAMETER = re.compile(  # RFC 7239 section 4, RFC 9110 section 5.6
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)=([!#$%&'*+\-.^_`|~0-9A-Za-z:\[\]]+|\"(?:[^\"\\]|\\.)*\")[ \t]*([;,]|$)"
)
_NODE = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([0-9.]+))(?::([0-9]{1,5}|_[A-Za-z0-9._-]+))?")
"""RFC 7239 section 6: an address with or without a port; that of IPv6 stands in brackets."""


class Client(NamedTuple):
    """Where a request comes from.

    Attributes:
        address: host and port (0 if no proxy says it), as `socket.getpeername` gives it, or what else the peer is.
        scheme: "http" or "https" as the proxy that is nearest to the client says, or None.
    """

    address: Any
    scheme: str | None = None


class _Hop(NamedTuple):
    """A proxy's entry for the peer that sent it the request; `host` is None if the proxy hides it."""

    host: str | None
    port: int
    scheme: str | None


class TrustedProxies:
    """Proxies whose headers are believed.

    Args:
        proxies: addresses and networks such as "10.0.0.0/8" or "::1", "unix" for peers on a Unix socket, "*" for all.

    Raises:
        ValueError: if one of them is nothing of that kind.
        TypeError: if they aren't several strings.
    """

    def __init__(self, proxies: Iterable[str]) -> None:
        if isinstance(proxies, str):
            raise TypeError(f"trusted_proxies is {proxies!r}: it must be a list of addresses and networks")
        named = list(proxies)
        self._all = "*" in named
        self._unix = self._all or "unix" in named
        self._networks = [ipaddress.ip_network(name) for name in named if name not in ("*", "unix")]

    def __bool__(self) -> bool:
        return self._unix or bool(self._networks)

    def trusts(self, address: Any) -> bool:
        """Whether the peer with this address (that of a socket) is a trusted proxy."""
        if not isinstance(address, tuple):  # Unix sockets have a path, or nothing
            return self._unix
        return self._all or self._trusts_host(str(address[0]))

    def find_client(self, peer: Any, headers: Headers) -> Client:
        """Return where a request comes from: from `peer`, unless that is a trusted proxy that names another.

        Args:
            peer: address of the socket that sent the request.
            headers: those of the request.
        """
        client = Client(peer)
        if not self.trusts(peer):
            return client
        for hop in _hops(headers):
            if hop.host is None:  # RFC 7239 section 6.2 and 6.3: it hides the address
                return client._replace(scheme=hop.scheme or client.scheme)
            client = Client((hop.host, hop.port), hop.scheme or client.scheme)
            if not self._all and not self._trusts_host(hop.host):
                return client
        return client

    def _trusts_host(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address.version == network.version and address in network for network in self._networks)


def _hops(headers: Headers) -> Iterator[_Hop]:
    """The entries of the proxies, the last one first."""
    if "Forwarded" in headers:
        for header in reversed(headers.get_all("Forwarded")):
            yield from reversed(_read_forwarded(header))
        return
    nodes = _list_of(headers, "X-Forwarded-For")
    schemes = [scheme.lower() for scheme in _list_of(headers, "X-Forwarded-Proto")]
    # Most proxies add an entry for each hop to the former, and set the latter once.
    each = schemes if len(schemes) == len(nodes) else [schemes[-1] if schemes else None] * len(nodes)
    for node, scheme in zip(reversed(nodes), reversed(each), strict=True):
        yield _Hop(*_read_node(node), _scheme(scheme))
    if schemes and not nodes:
        yield _Hop(None, 0, _scheme(schemes[-1]))


def _list_of(headers: Headers, name: str) -> list[str]:
    values = [value.strip(" \t") for header in headers.get_all(name) for value in header.split(",")]
    return [value for value in values if value]


def _read_forwarded(text: str) -> list[_Hop]:
    """RFC 7239 section 4. An entry that can't be read tells nothing, nor do those before it: a client wrote them."""
    hops: list[_Hop] = []
    parameters: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            comma = text.find(",", at)
            hops, parameters = [_Hop(None, 0, None)], {}
            if comma < 0:
                return hops
            at = comma + 1
            continue
        name, value, end = match.groups()
        parameters[name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        at = match.end()
        if end != ";":
            hops.append(_hop_of(parameters))
            parameters = {}
    return hops


def _hop_of(parameters: dict[str, str]) -> _Hop:
    return _Hop(*_read_node(parameters.get("for", "")), _scheme(parameters.get("proto", "").lower()))


def _read_node(text: str) -> tuple[str | None, int]:
    """Host and port of a node; X-Forwarded-For has IPv6 addresses without brackets, too."""
    match = _NODE.fullmatch(text)
    host, port = text, ""
    if match is not None:
        host, port = match[1] or match[2], match[3] or ""
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        return None, 0
    return address, int(port) if port.isdecimal() and int(port) <= 65535 else 0


def _scheme(name: str | None) -> str | None:
    """The schemes that proxies write, as those of the page: a proxy may say "wss" (RFC 6455 section 3)."""
    return {"http": "http", "https": "https", "ws": "http", "wss": "https"}.get(name or "")
