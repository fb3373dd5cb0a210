"""Which connections a server takes, and where clients come from behind proxies; the same on every driver."""

from __future__ import annotations

import http
import ipaddress
import weakref
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidMessage
from trunkline.handshake.forwarded import Client, TrustedProxies
from trunkline.handshake.proxy_header import ProxyHeader, ProxyHeaderReader
from trunkline.handshake.server import ServerHandshake
from trunkline.http11 import Request

__all__ = ["Admission", "BehindProxies", "TooMany"]

PREFIX = 64  # bits of an IPv6 address that a network gives to one customer (RFC 6177 section 2)


class TooMany(NamedTuple):
    """How a request is refused: the status, and a text for the client."""

    status: http.HTTPStatus
    text: str


FULL = TooMany(http.HTTPStatus.SERVICE_UNAVAILABLE, "The server takes no more connections just now: try again later.\n")
GREEDY = TooMany(http.HTTPStatus.TOO_MANY_REQUESTS, "Your address may have no more connections: close one first.\n")


class Admission:
    """The connections of a server, from the request of each to its end.

    Args:
        max_connections: at most so many at a time; None for no limit.
        max_per_ip: at most so many from one address (of IPv6: from one network of 64 bits); None for no limit.
        trusted_proxies: proxies whose headers tell where a client comes from; see `TrustedProxies`.
        proxy_protocol: whether each connection begins with a header of the PROXY protocol. Only a trusted proxy may
            send one, if there are `trusted_proxies`.

    Attributes:
        clients: where each connection comes from, if that isn't simply its peer.
        count: the connections there are.

    Raises:
        ValueError: if a limit isn't positive, or a proxy is no address.
        TypeError: if a limit is no number, or `trusted_proxies` is a str.
    """

    def __init__(
        self,
        max_connections: int | None = None,
        max_per_ip: int | None = None,
        trusted_proxies: Iterable[str] = (),
        proxy_protocol: bool = False,
    ) -> None:
        for name, limit in (("max_connections", max_connections), ("max_per_ip", max_per_ip)):
            _check_limit(name, limit)
        self.max_connections = max_connections
        self.max_per_ip = max_per_ip
        self.proxies = TrustedProxies(trusted_proxies)
        self.proxy_protocol = proxy_protocol
        self.clients: weakref.WeakKeyDictionary[Any, Client] = weakref.WeakKeyDictionary()
        self._networks: dict[Any, str | None] = {}  # of the connections that count
        self._by_network: dict[str, int] = {}

    @property
    def count(self) -> int:
        return len(self._networks)

    def new_handshake(self, opening: Any, **rules: Any) -> ServerHandshake:
        """The handshake of an `Opening`; `rules` are those of `ServerHandshake`."""
        if not self.proxy_protocol:
            return ServerHandshake(**rules)
        return _HandshakeBehindHeader(lambda header: self._believe(opening.connection, header), **rules)

    @property
    def looks_at_requests(self) -> bool:
        """Whether bytes of a request tell where it comes from."""
        return bool(self.proxies) or self.proxy_protocol

    def enter(self, connection: Any, headers: Headers | None = None) -> TooMany | None:
        """Find out where a request comes from. Count its connection, or return how to refuse it.

        Args:
            connection: with the address of its peer as `remote_address`.
            headers: those of the request, where the admission `looks_at_requests`.
        """
        address = connection.remote_address
        if headers is not None and self.proxies:
            address = self._learn_client(connection, headers)
        if self.max_connections is not None and self.count >= self.max_connections:
            return FULL
        network = None if self.max_per_ip is None else _network_of(address)
        if network is not None and self.max_per_ip is not None:
            count = self._by_network.get(network, 0)
            if count >= self.max_per_ip:
                return GREEDY
            self._by_network[network] = count + 1
        self._networks[connection] = network
        return None

    def _learn_client(self, connection: Any, headers: Headers) -> Any:
        """Keep where a request comes from, as far as proxies are trusted; return the address."""
        client = self.proxies.find_client(connection.remote_address, headers)
        said = self.clients.get(connection)  # by a header of the PROXY protocol
        if said is not None or client.scheme or client.address != connection.remote_address:
            self.clients[connection] = Client(client.address, client.scheme or (said and said.scheme))
        return client.address

    def leave(self, connection: Any) -> None:
        """Count a connection no more, if `enter` has counted it."""
        network = self._networks.pop(connection, None)
        if network is None:
            return
        self._by_network[network] -= 1
        if self._by_network[network] == 0:
            del self._by_network[network]

    def _believe(self, connection: Any, header: ProxyHeader) -> None:
        """Take a proxy's word for where a connection comes from.

        Raises:
            InvalidMessage: if the proxy isn't one of those that are trusted.
        """
        if self.proxies and not self.proxies.trusts(connection.remote_address):
            raise InvalidMessage("received a header of the PROXY protocol from a peer that is no trusted proxy")
        scheme = None if header.secure is None else "https" if header.secure else "http"
        if header.source is not None or scheme is not None:
            self.clients[connection] = Client(header.source or connection.remote_address, scheme)


class BehindProxies:
    """A connection of a server with an `Admission`: mixed into the `ServerConnection` of each driver."""

    server: Any

    @property
    def remote_address(self) -> Any:
        """Address of the client: host and port. It is that of the socket, unless a trusted proxy names another.

        The port is 0 if the proxy doesn't tell it; a client on a Unix socket has no such address.
        """
        client = self._client()
        return super().remote_address if client is None else client.address  # type: ignore[misc]

    @property
    def scheme(self) -> str:
        """How the client came: "wss" over TLS, to this server or to a trusted proxy that says so, else "ws"."""
        client = self._client()
        if client is None or client.scheme is None:
            return "wss" if self.server.secure else "ws"
        return "wss" if client.scheme == "https" else "ws"

    def _client(self) -> Client | None:
        admission: Admission | None = self.server.admission
        return None if admission is None else admission.clients.get(self)


class _HandshakeBehindHeader(ServerHandshake):
    """An opening handshake with a header of the PROXY protocol before it, which goes to `told`."""

    def __init__(self, told: Callable[[ProxyHeader], None], **rules: Any) -> None:
        super().__init__(**rules)
        self._told = told
        self._header: ProxyHeaderReader | None = ProxyHeaderReader()

    def receive_data(self, data: bytes) -> Request | None:
        if self._header is not None:
            header = self._header.receive_data(data)
            if header is None:
                return None
            self._told(header)
            data, self._header = self._header.remaining, None
        return super().receive_data(data) if data else None

    def receive_eof(self) -> None:
        if self._header is not None:
            self._header.receive_eof()
        super().receive_eof()


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
