"""Connections that go through a proxy."""

from __future__ import annotations

import socket
import ssl as ssl_module
from typing import Any

from trunkline.proxy import Proxy, Tunnel, check_proxy_tls, socks_failures, socks_proxy
from trunkline.sync.stream import Deadline, SocketStream, Stream, push_all, read_some, start_tls, timeouts_say

__all__ = ["open_stream"]


def open_stream(
    proxy: Proxy,
    host: str,
    port: int,
    deadline: Deadline,
    *,
    user_agent_header: str | None = None,
    ssl: ssl_module.SSLContext | None = None,
    server_hostname: str | None = None,
    **kwargs: Any,
) -> Stream:
    """A stream to a server through a proxy.

    Args:
        proxy: the proxy.
        host, port: the server.
        deadline: until when there must be one.
        user_agent_header: told to an HTTP proxy.
        ssl, server_hostname: for TLS with an `https://` proxy.
        kwargs: for `socket.create_connection` to an HTTP proxy.

    Raises:
        OSError: if the proxy can't be reached.
        ProxyError: if it doesn't reach the server.
        ValueError: if an argument doesn't suit the proxy.
        ImportError: if a SOCKS proxy is to be used and python-socks isn't installed.
    """
    check_proxy_tls(proxy, ssl)
    if proxy.scheme.startswith("socks"):
        return SocketStream(connect_socks(proxy, host, port, deadline, **kwargs))
    tunnel = Tunnel(proxy, host, port, user_agent_header)
    with timeouts_say("timed out while connecting to HTTP proxy"):
        sock = socket.create_connection((proxy.host, proxy.port), **{"timeout": deadline.remaining(), **kwargs})
        try:
            stream: Stream = SocketStream(sock)
            if proxy.scheme == "https":
                stream = start_tls(stream, ssl, deadline, server_hostname=server_hostname or proxy.host)
            open_tunnel(stream, tunnel, deadline)
        except BaseException:
            sock.close()
            raise
    return stream


def open_tunnel(stream: Stream, tunnel: Tunnel, deadline: Deadline) -> None:
    """Ask an HTTP proxy for a tunnel (RFC 9110 section 9.3.6)."""
    stream.write([tunnel.request])
    try:
        push_all(stream, deadline)
        while data := read_some(stream, deadline):
            if tunnel.receive_data(data):
                return
    except TimeoutError:
        raise
    except OSError as error:
        raise tunnel.failure(error) from error
    raise tunnel.failure()


def connect_socks(proxy: Proxy, host: str, port: int, deadline: Deadline, **kwargs: Any) -> socket.socket:
    """A socket that is connected to a server through a SOCKS proxy."""
    socks = socks_proxy(proxy, "sync")
    with socks_failures():
        sock: socket.socket = socks.connect(host, port, timeout=deadline.remaining(), **kwargs)
    return sock
