"""Decisions of clients on all drivers: redirects, and when to connect again."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from trunkline.datastructures import Headers
from trunkline.endpoint.client import BaseConnect, no_response
from trunkline.endpoint.reconnecting import process_exception
from trunkline.exceptions import InvalidStatus, InvalidURI, SecurityError
from trunkline.http11 import Response
from trunkline.options import Options


def delays() -> Iterator[float]:
    yield from (1.0, 2.0, 3.0)


def connect(uri: str = "wss://example.com/a", **options: Any) -> BaseConnect:
    defaults: dict[str, Any] = dict.fromkeys(
        ("origin", "extensions", "subprotocols", "compression", "additional_headers", "extra_headers"), None
    )
    defaults |= {"user_agent_header": None, "proxy": None, "logger": None, "arguments": {}}
    defaults |= {"process_exception": process_exception, "reconnect_delays": delays}
    return BaseConnect(uri, Options(), **(defaults | options))


@pytest.mark.parametrize(
    ("uri", "options", "error"),
    [
        ("http://example.com", {}, InvalidURI),
        ("ws://example.com", {"arguments": {"ssl": ssl.create_default_context()}}, ValueError),
        ("ws://example.com", {"subprotocols": "chat"}, TypeError),
        ("ws://example.com", {"compression": "gzip"}, ValueError),
    ],
)
def test_mistakes_show_where_they_are_made(uri: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        connect(uri, **options)


def redirect(location: str) -> InvalidStatus:
    return InvalidStatus(Response(302, "Found", Headers(Location=location)))


@pytest.mark.parametrize(
    ("location", "uri"),
    [("/b", "wss://example.com/b"), ("wss://example.org/", "wss://example.org/"), ("?x", "wss://example.com/a?x")],
)
def test_redirect(location: str, uri: str) -> None:
    connecting = connect()
    connecting.follow(redirect(location))
    assert connecting.uri == uri


def test_redirect_without_tls() -> None:
    with pytest.raises(SecurityError, match="non-secure"):
        connect().follow(redirect("ws://example.com/"))


@pytest.mark.parametrize(
    ("arguments", "place"),
    [({"host": "h"}, "an explicit host"), ({"port": 1}, "an explicit host"), ({"unix": True}, "a Unix socket")],
)
def test_redirect_from_a_given_place(arguments: dict[str, Any], place: str) -> None:
    with pytest.raises(ValueError, match=rf"cross-origin redirect to wss://example.org/ with {place}"):
        connect(arguments=arguments).follow(redirect("wss://example.org/"))
    connecting = connect(arguments=arguments)
    connecting.follow(redirect("/b"))
    assert connecting.uri == "wss://example.com/b"


def test_redirect_of_a_given_connection() -> None:
    with pytest.raises(ValueError, match=r"to wss://example.com/b with a preexisting socket"):
        connect(arguments={"sock": object()}).follow(redirect("/b"))


def test_other_errors_are_raised() -> None:
    error = OSError()
    with pytest.raises(OSError) as caught:  # noqa: PT011  # it is this very object
        connect().follow(error)
    assert caught.value is error


def test_credentials_stay_with_their_origin() -> None:
    connecting = connect(additional_headers={"Authorization": "x", "Cookie": "y", "X-Color": "red"})
    connecting.follow(redirect("/b"))
    assert "Cookie" in Headers(connecting.additional_headers)
    connecting.follow(redirect("wss://example.org/"))
    assert list(Headers(connecting.additional_headers)) == ["x-color"]


def test_delays_start_again_after_a_success() -> None:
    connecting = connect()
    assert [connecting.delay_after(OSError()) for _ in range(2)] == [1.0, 2.0]
    connecting.succeeded()
    assert connecting.delay_after(no_response_caused_by_eof()) == 1.0
    with pytest.raises(ZeroDivisionError):
        connecting.delay_after(ZeroDivisionError())


def no_response_caused_by_eof() -> Exception:
    error = no_response(None)
    assert isinstance(error.__cause__, EOFError)
    return error
