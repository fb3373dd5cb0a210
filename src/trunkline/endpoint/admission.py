"""Which connections a server takes, and which address a client has behind proxies; the same on every driver."""

from __future__ import annotations

import http
import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

from trunkline.datastructures import Headers
from trunkline.handshake.forwarded import Client, TrustedProxies

__all__ = ["Admission", "TooMany"]

PREFIX = 64  # bits of an IPv6 address that a network gives to one customer (RFC 6177 section 2)


class TooMany(NamedTuple):
    """How a request is refused: the status, and a text for the client."""

    status: http.HTTPStatus
    text: str


FULL = TooMany(http.HTTPStatus.SERVICE_UNAVAILABLE, "The server takes no more connections just now: try again later.\n")
GREEDY = TooMany(http.HTTPStatus.TOO_MANY_REQUESTS, "Your address may have no more connections: close one first.\n")


class Admission:
    """Counts the connections of a server. A connection counts from its request to its end.

    Args:
        max_connections: at most so many at a time; None for no limit.
        max_per_ip: at most so many from one address (of IPv6: from one network of 64 bits); None for no limit.
        trusted_proxies: proxies whose headers tell where a client comes from; see `TrustedProxies`.

    Attributes:
        count: the connections there are.

    Raises:
        ValueError: if a limit isn't positive, or a proxy is no address.
        TypeError: if a limit is no number.
    """

    def __init__(
        self,
        max_connections: int | None = None,
        max_per_ip: int | None = None,
        trusted_proxies: Iterable[str] = (),
    ) -> None:
        for name, limit in (("max_connections", max_connections), ("max_per_ip", max_per_ip)):
            _check_limit(name, limit)
        self.max_connections = max_connections
        self.max_per_ip = max_per_ip
        self.proxies = TrustedProxies(trusted_proxies)
        self.count = 0
        self._by_network: dict[str, int] = {}

    def find_client(self, peer: Any, headers: Headers) -> Client:
        """Return where a request comes from, as far as proxies are trusted."""
        return self.proxies.find_client(peer, headers)

    def enter(self, address: Any) -> TooMany | None:
        """Count a connection from this address, or return how to refuse it: then it is not counted."""
        if self.max_connections is not None and self.count >= self.max_connections:
            return FULL
        network = _network_of(address)
        if self.max_per_ip is not None and network is not None:
            count = self._by_network.get(network, 0)
            if count >= self.max_per_ip:
                return GREEDY
            self._by_network[network] = count + 1
        self.count += 1
        return None

    def leave(self, address: Any) -> None:
        """Forget a connection that `enter` has counted, from the same address."""
        self.count -= 1
        network = _network_of(address)
        if self.max_per_ip is None or network is None:
            return
        count = self._by_network[network] - 1
        if count:
            self._by_network[network] = count
        else:
            del self._by_network[network]


def _check_limit(name: str, limit: int | None) -> None:
    if limit is None:
        return
    if not isinstance(limit, int):
        raise TypeError(f"{name} is {limit!r}: it must be an int, or None for no limit")
    if limit < 1:
        raise ValueError(f"{name} is {limit!r}: it must be at least 1, or None for no limit")


def _network_of(address: Any) -> str | None:
    """The unit that `max_per_ip` counts by; None for what has no address, as peers on a Unix socket."""
    if not isinstance(address, tuple):
        return None
    try:
        host = ipaddress.ip_address(address[0])
    except ValueError:
        return str(address[0])
    if isinstance(host, ipaddress.IPv6Address):
        if host.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(host) >> (128 - PREFIX) << (128 - PREFIX), PREFIX)))
        host = host.ipv4_mapped
    return str(host)
