"""Addresses of proxies, and which one the environment names."""

from __future__ import annotations

import itertools

import pytest
import websockets.proxy
import websockets.uri

from trunkline.exceptions import InvalidProxy
from trunkline.proxy import Proxy, connect_request, get_proxy, parse_proxy
from trunkline.uri import parse_uri

VARIABLES = ("ws_proxy", "wss_proxy", "socks_proxy", "https_proxy", "http_proxy", "all_proxy")
URIS = ("ws://example.com/", "wss://example.com/", "wss://a.example.com:8443/", "ws://127.0.0.1:80/")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without proxies."""
    for name in (*VARIABLES, "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def chosen() -> list[str | None]:
    """The proxies for `URIS`; the same as websockets chooses."""
    ours = [get_proxy(parse_uri(uri)) for uri in URIS]
    theirs = [websockets.proxy.get_proxy(websockets.uri.parse_uri(uri)) for uri in URIS]
    assert ours == theirs
    return ours


@pytest.mark.parametrize("variables", [names for n in (0, 1, 2, 6) for names in itertools.combinations(VARIABLES, n)])
def test_order_of_variables(variables: tuple[str, ...], environment: pytest.MonkeyPatch) -> None:
    for name in variables:
        environment.setenv(name, f"http://{name.replace('_', '-')}")
    assert len(chosen()) == 4


@pytest.mark.parametrize("no_proxy", ["example.com", ".example.com", "example.com:80", "*", "127.0.0.1", "other"])
def test_exceptions(no_proxy: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("https_proxy", "http://proxy")
    environment.setenv("no_proxy", no_proxy)
    assert (chosen() == ["http://proxy"] * 4) is (no_proxy == "other")


@pytest.mark.parametrize("address", ["socks5://proxy", "socks4a://proxy", "http://proxy:1"])
def test_socks_variable(address: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("socks_proxy", address)
    assert chosen() == [address.replace("http", "socks5h")] * 4


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://proxy", Proxy("http", "proxy", 80)),
        ("HTTPS://Proxy/", Proxy("https", "proxy", 443)),
        ("socks5h://proxy", Proxy("socks5h", "proxy", 1080)),
        ("socks4://[::1]:99", Proxy("socks4", "::1", 99)),
        ("http://user:p%40ss@proxy:8080", Proxy("http", "proxy", 8080, "user", "p@ss")),
        ("http://bücher.example", Proxy("http", "xn--bcher-kva.example", 80)),
    ],
)
def test_parse(address: str, expected: Proxy) -> None:
    assert parse_proxy(address) == expected


def test_user_info() -> None:
    assert parse_proxy("http://user:@proxy").user_info == ("user", "")
    assert parse_proxy("http://proxy").user_info is None


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("proxy:80", "scheme proxy isn't supported"),
        ("ftp://proxy", "scheme ftp isn't supported"),
        ("http://", "hostname isn't provided"),
        ("http://proxy/path", "path is meaningless"),
        ("http://proxy?query", "query is meaningless"),
        ("http://proxy#fragment", "fragment is meaningless"),
        ("http://user@proxy", "username provided without password"),
        ("http://proxy:port", "Port could not be cast to integer"),
        ("http://proxy:65536", "Port out of range"),
        (f"http://{'ü' * 64}", "label"),
    ],
)
def test_parse_nonsense(address: str, text: str) -> None:
    with pytest.raises(InvalidProxy, match=text):
        parse_proxy(address)


def test_connect_request() -> None:
    proxy = Proxy("http", "proxy", 80, "user", "secret")
    assert connect_request(proxy, "::1", 80, "test/1") == (
        b"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\nUser-Agent: test/1\r\n"
        b"Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"
    )
    assert (
        connect_request(Proxy("http", "proxy", 80), "host", 1, None)
        == b"CONNECT host:1 HTTP/1.1\r\nHost: host:1\r\n\r\n"
    )
