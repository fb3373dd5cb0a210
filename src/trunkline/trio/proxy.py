"""Streams that go through a proxy."""

from __future__ import annotations

import ssl as ssl_module
from typing import Any, Literal

import trio

from trunkline.proxy import Proxy, Tunnel, check_proxy_tls, socks_failures, socks_proxy

__all__ = ["connect_proxy", "start_tls"]


class TLSError(trio.BrokenResourceError, OSError):
    """TLS failed: to trio a stream that is broken, and like all that keeps a client from connecting an OSError."""


async def connect_proxy(
    proxy: Proxy,
    host: str,
    port: int,
    *,
    user_agent_header: str | None = None,
    proxy_ssl: ssl_module.SSLContext | None = None,
    proxy_server_hostname: str | None = None,
    **kwargs: Any,
) -> trio.abc.Stream:
    """A stream to a server, through a proxy.

    Args:
        proxy: the proxy.
        host, port: the server.
        user_agent_header: told to an HTTP proxy.
        proxy_ssl, proxy_server_hostname: for TLS with an `https://` proxy.
        kwargs: for the connection to the proxy.

    Raises:
        OSError: if the proxy can't be reached.
        ProxyError: if it doesn't reach the server.
        ValueError: if an argument doesn't suit the proxy.
        ImportError: if a SOCKS proxy is to be used and python-socks isn't installed.
    """
    check_proxy_tls(proxy, proxy_ssl)
    if proxy.scheme.startswith("socks"):
        return await _connect_socks(proxy, host, port, **kwargs)
    stream: trio.abc.Stream = await trio.open_tcp_stream(proxy.host, proxy.port, **kwargs)
    if proxy.scheme == "https":
        stream = await start_tls(stream, proxy_ssl, proxy_server_hostname or proxy.host)
    try:
        await _open_tunnel(stream, Tunnel(proxy, host, port, user_agent_header))
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream


async def _open_tunnel(stream: trio.abc.Stream, tunnel: Tunnel) -> None:
    """Ask an HTTP proxy for a tunnel (RFC 9110 section 9.3.6)."""
    try:
        await stream.send_all(tunnel.request)
        while data := await stream.receive_some():
            if tunnel.receive_data(bytes(data)):
                return
    except trio.BrokenResourceError as error:
        raise tunnel.failure(error.__cause__ or error) from error
    raise tunnel.failure()


async def _connect_socks(proxy: Proxy, host: str, port: int, **kwargs: Any) -> trio.abc.Stream:
    socks = socks_proxy(proxy, "async_.trio")
    with socks_failures():
        return trio.SocketStream(await socks.connect(host, port, **kwargs))


async def start_tls(
    stream: trio.abc.Stream, ssl: ssl_module.SSLContext | Literal[True] | None, server_hostname: str
) -> trio.abc.Stream:
    """TLS over a stream, which is closed if that fails; `ssl` True or None is `ssl.create_default_context`.

    Raises:
        TLSError: if the handshake fails.
    """
    context = ssl_module.create_default_context() if ssl is None or ssl is True else ssl
    secured = trio.SSLStream(stream, context, server_hostname=server_hostname, https_compatible=True)
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(stream)
        cause = error.__cause__ or error
        raise TLSError(str(cause) or "connection closed during the TLS handshake") from cause
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return secured
