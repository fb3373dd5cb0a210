"""Clients for threads that reach a server through proxies of every kind."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import python_socks

from tests.support import proxies
from tests.support.proxies import HTTPProxy, SOCKS4Proxy, SOCKS5Proxy
from tests.support.threads import loop_in_a_thread, served
from trunkline.exceptions import InvalidProxy, InvalidProxyMessage, InvalidProxyStatus, ProxyError
from trunkline.sync.client import connect
from trunkline.testing.tls import tls_contexts

NOWHERE = {"server.invalid": "127.0.0.1"}  # a name that only the proxy can resolve (RFC 6761 section 6.4)


@contextlib.contextmanager
def running(proxy: Any, context: Any = None) -> Iterator[int]:
    with loop_in_a_thread(lambda: proxies.running(proxy.greet, context)) as port:
        yield port


def say_hello(uri: str, **options: Any) -> None:
    with connect(uri, compression=None, **options) as ws:
        ws.send("hello")
        assert ws.recv() == "hello"
    assert ws.close_code == 1000


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("secure_proxy", [False, True])
def test_http(secure: bool, secure_proxy: bool) -> None:
    """With TLS to both, there is TLS in TLS."""
    server_context, client_context = tls_contexts()
    proxy = HTTPProxy(names=NOWHERE)
    options: dict[str, Any] = {"ssl": client_context, "server_hostname": "localhost"} if secure else {}
    if secure_proxy:
        options["proxy_ssl"] = client_context
    with (
        served(ssl=server_context if secure else None) as uri,
        running(proxy, server_context if secure_proxy else None) as port,
    ):
        uri = uri.replace("localhost", "server.invalid")
        say_hello(uri, proxy=f"{'https' if secure_proxy else 'http'}://localhost:{port}", **options)
    assert proxy.requests[0].startswith("CONNECT server.invalid:")
    assert "\r\nUser-Agent: " in proxy.requests[0]


def test_name_of_the_proxy_in_its_certificate() -> None:
    server_context, client_context = tls_contexts()
    with served() as uri, running(HTTPProxy(), server_context) as port:
        options = {"proxy": f"https://127.0.0.1:{port}", "proxy_ssl": client_context}
        say_hello(uri, proxy_server_hostname="localhost", **options)
        with pytest.raises(OSError, match="certificate verify failed"):
            say_hello(uri, proxy_server_hostname="example.com", **options)


def test_credentials() -> None:
    with served() as uri, running(HTTPProxy(credentials="user:p@ss")) as port:
        say_hello(uri, proxy=f"http://user:p%40ss@localhost:{port}")
        with pytest.raises(InvalidProxyStatus, match="HTTP 407"):
            say_hello(uri, proxy=f"http://localhost:{port}")


@pytest.mark.parametrize("answer", ["", "HTTP/1.1 200 O", "SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nmore"])
def test_answer_that_is_no_answer(answer: str) -> None:
    with running(HTTPProxy(answer=answer)) as port, pytest.raises(InvalidProxyMessage, match="valid HTTP response"):
        connect("ws://localhost", proxy=f"http://localhost:{port}")


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
    server_context, client_context = tls_contexts()
    options: dict[str, Any] = {"ssl": client_context} if secure else {}
    with served(ssl=server_context if secure else None) as uri, running(proxy) as port:
        say_hello(uri, proxy=f"{scheme}://localhost:{port}", **options)
    assert proxy.requests[-1] == asked_for


def test_socks_credentials() -> None:
    with served() as uri, running(SOCKS5Proxy(credentials="user:p@ss")) as port:
        say_hello(uri, proxy=f"socks5h://user:p%40ss@localhost:{port}")
        with pytest.raises(ProxyError, match=r"^failed to connect to SOCKS proxy$"):
            say_hello(uri, proxy=f"socks5://user:wrong@localhost:{port}")


def test_python_socks_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(ImportError, match=r"pip install 'trunkline\[proxy\]'"):
        connect("ws://localhost", proxy="socks5h://localhost:1")


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks4"])
def test_nobody_there(scheme: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011  # the text is the system's
        connect("ws://localhost", proxy=f"{scheme}://localhost:1")


@pytest.mark.parametrize(
    ("scheme", "kind", "text"),
    [
        ("http", TimeoutError, "timed out while connecting to HTTP proxy"),
        ("https", TimeoutError, "timed out while connecting to HTTP proxy"),
        ("socks5", python_socks.ProxyTimeoutError, "timed out"),  # the text is that of python-socks
    ],
)
def test_proxy_that_says_nothing(scheme: str, kind: type[TimeoutError], text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=text) as caught:
            connect("ws://localhost", proxy=proxy, open_timeout=0.1)
    assert type(caught.value) is kind


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ws_proxy", "socks_proxy", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    proxy = HTTPProxy()
    with served() as uri, running(proxy) as port:
        monkeypatch.setenv("ws_proxy", f"http://localhost:{port}")
        monkeypatch.setenv("no_proxy", "")
        say_hello(uri)
        assert len(proxy.requests) == 1
        say_hello(uri, proxy=None)
        assert len(proxy.requests) == 1


@pytest.mark.parametrize(
    ("proxy", "options", "error"),
    [("ftp://localhost", {}, InvalidProxy), ("http://localhost:1", {"proxy_ssl": tls_contexts()[1]}, ValueError)],
)
def test_arguments_that_make_no_sense(proxy: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        connect("ws://localhost", proxy=proxy, **options)
