"""Clients that reach a server through proxies of every kind, each on a port of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import python_socks
import uvloop

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import port_of, serve
from tests.support.proxies import HTTPProxy, SOCKS4Proxy, SOCKS5Proxy, running
from trunkline.exceptions import InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, InvalidStatus, ProxyError
from trunkline.testing.tls import tls_contexts

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]
NOWHERE = {"server.invalid": "127.0.0.1"}  # a name that only the proxy can resolve (RFC 6761 section 6.4)


async def say_hello(uri: str, **options: Any) -> None:
    """Connect, exchange a message, and close."""
    async with trunkline.connect(uri, compression=None, **options) as ws:
        await ws.send("hello")
        assert await ws.recv() == "hello"
    assert ws.close_code == 1000


def connect(port: int, proxy: str | None, **options: Any) -> Any:
    return trunkline.connect(f"ws://localhost:{port}/", proxy=proxy, compression=None, **options)


@contextlib.asynccontextmanager
async def served(secure: bool = False) -> AsyncIterator[int]:
    """An echo server; yields its port."""
    async with serve(ssl=tls_contexts()[0] if secure else None) as server:
        yield port_of(server)


# --- HTTP ---


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("secure_proxy", [False, True])
def test_http(loop: Callable[[], asyncio.AbstractEventLoop], secure: bool, secure_proxy: bool) -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        proxy = HTTPProxy()
        async with served(secure) as port, running(proxy.greet, server_context if secure_proxy else None) as proxy_port:
            options: dict[str, Any] = {"ssl": client_context} if secure else {}
            if secure_proxy:
                options["proxy_ssl"] = client_context
            await say_hello(
                f"{'wss' if secure else 'ws'}://localhost:{port}/",
                proxy=f"{'https' if secure_proxy else 'http'}://localhost:{proxy_port}",
                **options,
            )
            assert proxy.requests[0].startswith(
                f"CONNECT localhost:{port} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: "
            )

    run_clean(main, loop)


@pytest.mark.parametrize("secure", [False, True])
def test_http_proxy_resolves_names(secure: bool) -> None:
    async def main() -> None:
        proxy = HTTPProxy(names=NOWHERE)
        async with served(secure) as port, running(proxy.greet) as proxy_port:
            options: dict[str, Any] = {"ssl": tls_contexts()[1], "server_hostname": "localhost"} if secure else {}
            uri = f"{'wss' if secure else 'ws'}://server.invalid:{port}/"
            await say_hello(uri, proxy=f"http://127.0.0.1:{proxy_port}", **options)

    run_clean(main)


def test_name_of_the_proxy_in_its_certificate() -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        async with served() as port, running(HTTPProxy().greet, server_context) as proxy_port:
            options = {"proxy": f"https://127.0.0.1:{proxy_port}", "proxy_ssl": client_context}
            await say_hello(f"ws://localhost:{port}/", proxy_server_hostname="localhost", **options)
            with pytest.raises(OSError, match="certificate verify failed"):
                await say_hello(f"ws://localhost:{port}/", proxy_server_hostname="example.com", **options)

    run_clean(main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("secure_proxy", [False, True])
def test_untrusted_server_behind_a_proxy(loop: Callable[[], asyncio.AbstractEventLoop], secure_proxy: bool) -> None:
    server_context, client_context = tls_contexts()
    options: dict[str, Any] = {"proxy_ssl": client_context} if secure_proxy else {}

    async def main() -> None:
        if secure_proxy and sys.version_info < (3, 11, 8):
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # asyncio's mistake: see there
        gone = asyncio.Event()
        proxy = HTTPProxy()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int] | None:
            asyncio.create_task(writer.wait_closed()).add_done_callback(lambda task: task.exception() or gone.set())
            return await proxy.greet(reader, writer)

        context = server_context if secure_proxy else None
        async with served(secure=True) as port, running(greet, context) as proxy_port:
            with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
                await say_hello(
                    f"wss://localhost:{port}/",
                    proxy=f"{'https' if secure_proxy else 'http'}://localhost:{proxy_port}",
                    **options,
                )
            await asyncio.wait_for(gone.wait(), 10)

    run_clean(main, loop)


def test_timeouts_of_tls_with_the_proxy() -> None:
    server_context, client_context = tls_contexts()
    options: dict[str, Any] = {"proxy_ssl_handshake_timeout": 10, "proxy_ssl_shutdown_timeout": 10}

    async def main() -> None:
        async with served() as port:
            uri = f"ws://localhost:{port}/"
            await say_hello(uri, proxy=None, **options)
            async with running(HTTPProxy().greet, server_context) as proxy_port:
                await say_hello(uri, proxy=f"https://localhost:{proxy_port}", proxy_ssl=client_context, **options)
            async with running(HTTPProxy().greet) as proxy_port:  # which doesn't answer what it doesn't understand
                options["proxy_ssl_handshake_timeout"] = 0.1
                with pytest.raises(ConnectionAbortedError, match="handshake is taking longer"):
                    await say_hello(uri, proxy=f"https://localhost:{proxy_port}", **options)

    run_clean(main)


@pytest.mark.parametrize("user_agent", [None, "test/1"])
def test_user_agent(user_agent: str | None) -> None:
    async def main() -> None:
        proxy = HTTPProxy()
        async with served() as port, running(proxy.greet) as proxy_port:
            await say_hello(
                f"ws://localhost:{port}/", proxy=f"http://localhost:{proxy_port}", user_agent_header=user_agent
            )
            assert ("User-Agent: test/1\r\n" in proxy.requests[0]) is (user_agent is not None)
            assert ("User-Agent" in proxy.requests[0]) is (user_agent is not None)

    run_clean(main)


def test_credentials() -> None:
    async def main() -> None:
        proxy = HTTPProxy(credentials="user:p@ss")
        async with served() as port, running(proxy.greet) as proxy_port:
            await say_hello(f"ws://localhost:{port}/", proxy=f"http://user:p%40ss@localhost:{proxy_port}")
            with pytest.raises(InvalidProxyStatus, match="HTTP 407") as caught:
                await connect(port, f"http://localhost:{proxy_port}")
            assert caught.value.response.headers["Proxy-Authenticate"] == 'Basic realm="x"'

    run_clean(main)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("", "EOFError"),
        ("HTTP/1.1 200 O", "EOFError"),
        ("SSH-2.0-proxy\r\n\r\n", "ValueError"),
        ("HTTP/1.1 600 What?\r\n\r\n", "ValueError"),
        (f"HTTP/1.1 200 {'x' * 9000}\r\n\r\n", "StatusLineTooLong"),
        ("HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n", "ValueError"),
    ],
)
def test_answer_that_is_no_answer(answer: str, error: str) -> None:
    async def main() -> None:
        async with served() as port, running(HTTPProxy(answer=answer).greet) as proxy_port:
            with pytest.raises(InvalidProxyMessage, match="did not receive a valid HTTP response") as caught:
                await connect(port, f"http://localhost:{proxy_port}")
            assert type(caught.value.__cause__).__name__ == error

    run_clean(main)


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",  # RFC 9110 section 9.3.6: to be ignored
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_successful_answers(answer: str) -> None:
    async def main() -> None:
        async with served() as port, running(HTTPProxy(answer=answer).greet) as proxy_port:
            await say_hello(f"ws://localhost:{port}/", proxy=f"http://localhost:{proxy_port}")

    run_clean(main)


def test_refusal_with_a_body_that_never_ends() -> None:
    async def main() -> None:
        proxy = HTTPProxy(answer="HTTP/1.1 403 Forbidden\r\nContent-Length: 1000000\r\n\r\nNo")
        async with served() as port, running(proxy.greet) as proxy_port:
            with pytest.raises(InvalidProxyStatus, match="HTTP 403"):
                await connect(port, f"http://localhost:{proxy_port}")

    run_clean(main)


def test_proxy_that_says_nothing() -> None:
    async def main() -> None:
        gone = asyncio.Event()

        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(1000):
                pass
            gone.set()

        async with served() as port, running(greet) as proxy_port:
            with pytest.raises(TimeoutError, match="opening handshake"):
                await connect(port, f"http://localhost:{proxy_port}", open_timeout=0.1)
            await asyncio.wait_for(gone.wait(), 10)

    run_clean(main)


def test_refusal_of_the_server_comes_through() -> None:
    async def main() -> None:
        server = serve(process_request=lambda connection, request: connection.respond(418, "teapot\n"))
        async with server, running(HTTPProxy().greet) as proxy_port:
            with pytest.raises(InvalidStatus, match="HTTP 418"):
                await connect(port_of(server), f"http://localhost:{proxy_port}")

    run_clean(main)


def test_host_and_port_name_the_server() -> None:
    async def main() -> None:
        async with served() as port, running(HTTPProxy().greet) as proxy_port:
            proxy = f"http://localhost:{proxy_port}"
            await say_hello("ws://server.invalid/", proxy=proxy, host="127.0.0.1", port=port)

    run_clean(main)


# --- SOCKS ---


@pytest.mark.parametrize(
    ("scheme", "proxy", "asked_for"),
    [
        ("socks5", SOCKS5Proxy(), "127.0.0.1"),
        ("socks5h", SOCKS5Proxy(), "localhost"),
        ("socks4", SOCKS4Proxy(), "127.0.0.1"),
        ("socks4a", SOCKS4Proxy(), "localhost"),
    ],
)
@pytest.mark.parametrize("secure", [False, True])
def test_socks(scheme: str, proxy: SOCKS4Proxy | SOCKS5Proxy, asked_for: str, secure: bool) -> None:
    async def main() -> None:
        async with served(secure) as port, running(proxy.greet) as proxy_port:
            uri = f"{'wss' if secure else 'ws'}://localhost:{port}/"
            options: dict[str, Any] = {"ssl": tls_contexts()[1]} if secure else {}
            await say_hello(uri, proxy=f"{scheme}://localhost:{proxy_port}", **options)
            assert proxy.requests[-1] == asked_for

    run_clean(main)


def test_socks_credentials() -> None:
    async def main() -> None:
        proxy = SOCKS5Proxy(credentials="user:p@ss", names=NOWHERE)
        async with served() as port, running(proxy.greet) as proxy_port:
            await say_hello(f"ws://server.invalid:{port}/", proxy=f"socks5h://user:p%40ss@localhost:{proxy_port}")
            with pytest.raises(ProxyError, match=r"^failed to connect to SOCKS proxy$") as caught:
                await connect(port, f"socks5://user:wrong@localhost:{proxy_port}")
            assert isinstance(caught.value.__cause__, python_socks.ProxyError)

    run_clean(main)


def test_python_socks_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)

    async def main() -> None:
        with pytest.raises(ImportError, match=r"pip install 'trunkline\[proxy\]'"):
            await connect(1, "socks5h://localhost:1")

    run_clean(main)


# --- both ---


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks4"])
def test_nobody_there(scheme: str) -> None:
    async def main() -> None:
        with pytest.raises(OSError) as caught:  # noqa: PT011  # the text is the system's
            await connect(1, f"{scheme}://localhost:1")
        assert caught.value.__cause__ is not caught.value

    run_clean(main)


@pytest.mark.parametrize("variable", ["ws_proxy", "http_proxy", "https_proxy"])
def test_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        proxy = HTTPProxy()
        async with served() as port, running(proxy.greet) as proxy_port:
            monkeypatch.setenv(variable, f"http://localhost:{proxy_port}")
            monkeypatch.setenv("no_proxy", "")
            await say_hello(f"ws://localhost:{port}/")
            assert len(proxy.requests) == 1
            monkeypatch.setenv("no_proxy", "localhost")
            await say_hello(f"ws://localhost:{port}/")
            assert len(proxy.requests) == 1

    for name in ("ws_proxy", "socks_proxy", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    run_clean(main)


@pytest.mark.parametrize(
    ("proxy", "options", "error", "text"),
    [
        ("ftp://localhost", {}, InvalidProxy, "scheme ftp isn't supported"),
        ("http://localhost:1", {"proxy_ssl": "context"}, ValueError, "incompatible with an http:// proxy"),
        ("http://localhost:1", {"proxy_ssl": True}, ValueError, "incompatible with an http:// proxy"),
        (
            "https://localhost:1",
            {"proxy_ssl": None},
            ValueError,
            "proxy_ssl=None is incompatible with an https:// proxy",
        ),
        ("http://localhost:1", {"engine": "reactor"}, ValueError, "can't be used through an HTTP proxy"),
    ],
)
def test_arguments_that_make_no_sense(proxy: str, options: dict[str, Any], error: type[Exception], text: str) -> None:
    async def main() -> None:
        with pytest.raises(error, match=text):
            await connect(1, proxy, **options)

    run_clean(main)


def test_arguments_for_a_proxy_that_is_not_there() -> None:
    async def main() -> None:
        async with served() as port:
            await say_hello(
                f"ws://localhost:{port}/", proxy=None, proxy_ssl=tls_contexts()[1], proxy_server_hostname="localhost"
            )

    run_clean(main)
