"""Trio clients that reach a server through proxies. The proxies run on asyncio, in another thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.pair import echo, port_of
from tests.support.proxies import HTTPProxy, SOCKS4Proxy, SOCKS5Proxy, running
from tests.trio.support import run
from trunkline.exceptions import InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, ProxyError
from trunkline.testing.drivers.asyncio import AsyncioDriver
from trunkline.testing.tls import tls_contexts
from trunkline.trio.client import connect


@contextlib.contextmanager
def elsewhere(proxy: Any, *, secure: bool = False, secure_proxy: bool = False) -> Iterator[tuple[int, int]]:
    """An echo server and a proxy in another thread; yields their ports."""
    context = tls_contexts()[0]
    with AsyncioDriver("transports") as driver:
        server = driver.call(driver.open_server, echo, **({"ssl": context} if secure else {}))
        proxying = running(proxy.greet, context if secure_proxy else None)
        try:
            yield port_of(server), driver.call(proxying.__aenter__)
        finally:
            driver.call(proxying.__aexit__, None, None, None)
            driver.call(driver.close_server, server)


async def say_hello(uri: str, **options: Any) -> None:
    async with connect(uri, **options) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
    assert ws.close_code == 1000


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("secure_proxy", [False, True])
def test_http(secure: bool, secure_proxy: bool) -> None:
    proxy = HTTPProxy("user:pass")
    with elsewhere(proxy, secure=secure, secure_proxy=secure_proxy) as (port, proxy_port):

        async def main() -> None:
            client_context = tls_contexts()[1]
            options: dict[str, Any] = {"ssl": client_context} if secure else {}
            if secure_proxy:
                options["proxy_ssl"] = client_context
            address = f"{'https' if secure_proxy else 'http'}://user:pass@localhost:{proxy_port}"
            await say_hello(f"{'wss' if secure else 'ws'}://localhost:{port}/", proxy=address, **options)

        run(main)
    assert proxy.requests[0].startswith(f"CONNECT localhost:{port} HTTP/1.1\r\n")


@pytest.mark.parametrize("scheme", ["socks4", "socks5", "socks5h"])
def test_socks(scheme: str) -> None:
    with elsewhere(SOCKS4Proxy() if scheme == "socks4" else SOCKS5Proxy()) as (port, proxy_port):

        async def main() -> None:
            await say_hello(f"ws://127.0.0.1:{port}/", proxy=f"{scheme}://127.0.0.1:{proxy_port}")

        run(main)


@pytest.mark.parametrize(
    ("proxy", "error"),
    [
        (HTTPProxy("user:pass"), InvalidProxyStatus),
        (HTTPProxy(answer=""), InvalidProxyMessage),
        (HTTPProxy(answer="220 smtp\r\n\r\n"), InvalidProxyMessage),
    ],
)
def test_http_proxy_that_does_not_help(proxy: Any, error: type[Exception]) -> None:
    with elsewhere(proxy) as (port, proxy_port):

        async def main() -> None:
            with pytest.raises(error):
                await say_hello(f"ws://127.0.0.1:{port}/", proxy=f"http://127.0.0.1:{proxy_port}")

        run(main)


def test_socks_proxy_that_does_not_help() -> None:
    with elsewhere(HTTPProxy()) as (port, proxy_port):

        async def main() -> None:
            with pytest.raises((ProxyError, OSError)):
                await say_hello(f"ws://127.0.0.1:{port}/", proxy=f"socks5://127.0.0.1:{proxy_port}", open_timeout=1)

        run(main)


def test_what_makes_no_sense_is_refused() -> None:
    async def main() -> None:
        with pytest.raises(InvalidProxy):
            await say_hello("ws://localhost/", proxy="ftp://localhost")
        with pytest.raises(ValueError, match="proxy_ssl"):
            await say_hello("ws://localhost/", proxy="http://localhost:1", proxy_ssl=tls_contexts()[1])

    run(main)
