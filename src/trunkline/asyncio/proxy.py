"""Connections that go through a proxy."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable
from typing import Any

from trunkline.asyncio import engine as engines
from trunkline.exceptions import ProxyError
from trunkline.proxy import Proxy, Tunnel, check_proxy_tls, socks_failures, socks_proxy

__all__ = ["create_connection"]

#: Keyword arguments that concern TLS with the server, not the connection to the proxy.
TLS_ARGUMENTS = frozenset({"ssl", "server_hostname", "ssl_handshake_timeout", "ssl_shutdown_timeout"})


async def create_connection(
    proxy: Proxy,
    factory: Callable[[], Any],
    *,
    engine: engines.Engine = "auto",
    host: str,
    port: int,
    user_agent_header: str | None = None,
    **kwargs: Any,
) -> Any:
    """`loop.create_connection` through a proxy; returns the protocol.

    Args:
        proxy: the proxy.
        factory: makes the protocol.
        engine: for SOCKS as always; an HTTP proxy leaves no choice but transports.
        host, port: the server.
        user_agent_header: told to an HTTP proxy.
        kwargs: `ssl`, `server_hostname` and the like for TLS with the server. With `proxy_` before them, they are for
            TLS with an `https://` proxy. Others are for the connection to the proxy.

    Raises:
        OSError: if the proxy can't be reached.
        ProxyError: if it doesn't reach the server.
        ValueError: if an argument doesn't suit the proxy.
        ImportError: if a SOCKS proxy is to be used and python-socks isn't installed.
    """
    proxy_tls = {name: kwargs.pop(f"proxy_{name}") for name in TLS_ARGUMENTS if f"proxy_{name}" in kwargs}
    check_proxy_tls(proxy, proxy_tls.get("ssl"))
    tls = {name: value for name, value in kwargs.items() if name in TLS_ARGUMENTS}
    tcp = {name: value for name, value in kwargs.items() if name not in TLS_ARGUMENTS}
    if proxy.scheme.startswith("socks"):
        sock = await connect_socks(proxy, host, port, **tcp)
        return await engines.create_connection(factory, engine=engine, sock=sock, **tls)
    if engine == "reactor":
        raise ValueError("engine='reactor' can't be used through an HTTP proxy: leave engine out")
    if proxy.scheme == "https":
        if proxy_tls.setdefault("ssl", True) is None:
            raise ValueError("proxy_ssl=None is incompatible with an https:// proxy")
        tcp |= proxy_tls
    transport = await open_tunnel(proxy, Tunnel(proxy, host, port, user_agent_header), **tcp)
    return await take_over(transport, factory(), **tls)


class ProxyConnection(asyncio.Protocol):
    """The dialogue with an HTTP proxy until it has opened a tunnel.

    Attributes:
        opened: a future, done when there is a tunnel.
    """

    def __init__(self, tunnel: Tunnel) -> None:
        self.tunnel = tunnel
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        transport.write(self.tunnel.request)

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            return
        try:
            if self.tunnel.receive_data(data):
                self.opened.set_result(None)
        except ProxyError as error:
            self.opened.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(self.tunnel.failure(error))


async def open_tunnel(proxy: Proxy, tunnel: Tunnel, **kwargs: Any) -> asyncio.Transport:
    """Ask an HTTP proxy for a tunnel (RFC 9110 section 9.3.6)."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: ProxyConnection(tunnel), proxy.host, proxy.port, **kwargs
    )
    try:
        await protocol.opened
    except BaseException:
        transport.abort()
        raise
    return transport


async def take_over(transport: asyncio.Transport, protocol: Any, *, ssl: Any = None, **kwargs: Any) -> Any:
    """Put a protocol on a transport that another one opened, with TLS if `ssl` is given."""
    if ssl is None:
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        return protocol
    context = ssl_module.create_default_context() if ssl is True else ssl
    try:
        secured = await asyncio.get_running_loop().start_tls(transport, protocol, context, **kwargs)
    except BaseException as error:
        transport.abort()
        # Before 3.11.8, asyncio stumbles over the failure if the connection to the proxy has TLS, too.
        if isinstance(error, TypeError) and isinstance(error.__context__, ssl_module.SSLError):
            raise error.__context__ from None
        raise
    assert secured is not None, "the transport is open"
    protocol.connection_made(secured)
    return protocol


async def connect_socks(proxy: Proxy, host: str, port: int, **kwargs: Any) -> Any:
    """A socket that is connected to a server through a SOCKS proxy."""
    socks = socks_proxy(proxy, "async_.asyncio")
    with socks_failures():
        return await socks.connect(host, port, **kwargs)
