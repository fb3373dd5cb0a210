"""A handler for each path: what clients get, and what handlers are called with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Map, Rule

import trunkline
from tests.support.loop import run_clean
from tests.support.pair import connect, port_of
from tests.support.raw import RawPeer
from trunkline.asyncio.router import Router
from trunkline.asyncio.server import ServerConnection
from trunkline.exceptions import InvalidStatus
from trunkline.http11 import Request, Response
from trunkline.testing.tls import tls_contexts


async def show(ws: ServerConnection, **parameters: Any) -> None:
    """Tell the client how it is called."""
    await ws.send(repr(sorted(parameters.items())))


def rules() -> Map:
    return Map([
        Rule("/", endpoint=show),
        Rule("/room/<int:number>/<name>", endpoint=show),
        Rule("/slash/", endpoint=show),
        Rule("/old", redirect_to="/slash/"),
        Rule("/posts", endpoint=show, methods=["POST"]),
    ])  # fmt: skip


def route(**options: Any) -> Any:
    return trunkline.route(rules(), "127.0.0.1", 0, **options)


async def response_to(server: Any, path: str, **options: Any) -> Response:
    """The response to a refused request."""
    port = port_of(server)
    async with await RawPeer.connect(port) as peer:
        headers = {"Host": f"localhost:{port}"} | options
        lines = [f"{name}: {value}\r\n" for name, value in headers.items() if value is not None]
        await peer.send(
            f"GET {path} HTTP/1.1\r\n{''.join(lines)}Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head, _, body = (await peer.read_to_eof()).decode().partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        return Response(
            int(status.split()[1]), status, trunkline.Headers(field.split(": ", 1) for field in fields), body.encode()
        )


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/", "[]"),
        ("/?a=b", "[]"),
        ("/room/7/lounge", "[('name', 'lounge'), ('number', 7)]"),
        ("/room/7/caf%C3%A9?x", "[('name', 'caf%C3%A9'), ('number', 7)]"),
        ("/slash/", "[]"),
    ],
)
def test_match(path: str, parameters: str) -> None:
    async def main() -> None:
        async with route() as server, connect(server, path) as ws:
            assert await ws.recv() == parameters

    run_clean(main)


@pytest.mark.parametrize("path", ["/none", "/room/x/lounge", "/room/7"])
def test_not_found(path: str) -> None:
    async def main() -> None:
        async with route() as server:
            with pytest.raises(InvalidStatus, match="HTTP 404") as caught:
                await connect(server, path)
            assert caught.value.response.body == b"Not Found"

    run_clean(main)


@pytest.mark.parametrize("path", ["/slash", "/old"])
def test_redirect_is_followed(path: str) -> None:
    async def main() -> None:
        async with route() as server, connect(server, path) as ws:
            assert ws.request.path == "/slash/"

    run_clean(main)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "ws://localhost:{port}/slash/?a=b"),
        ({"server_name": "example.com"}, "ws://example.com/slash/?a=b"),
        ({"ssl": True}, "wss://localhost:{port}/slash/?a=b"),
    ],
)
def test_where_redirects_lead(options: dict[str, Any], expected: str) -> None:
    async def main() -> None:
        async with route(**options) as server:
            response = await response_to(server, "/slash?a=b")
            assert response.status_code == 302
            assert response.headers["Location"] == expected.format(port=port_of(server))

    run_clean(main)


@pytest.mark.parametrize(("path", "status"), [("/posts", 405)])
def test_other_refusals_of_werkzeug(path: str, status: int) -> None:
    async def main() -> None:
        async with route() as server:
            response = await response_to(server, path)
            assert (response.status_code, response.headers["Allow"]) == (status, "POST")

    run_clean(main)


def test_targets_in_absolute_form() -> None:
    """RFC 9112 section 3.2.2: the host in them counts for redirects, and for rules with a host."""

    async def main() -> None:
        url_map = Map([Rule("/slash/", endpoint=show), Rule("/", endpoint=show, host="<name>.example.com")])
        url_map.host_matching = False
        async with trunkline.route(url_map, "127.0.0.1", 0) as server:
            response = await response_to(server, "ws://example.com:81/slash?a=b")
            assert response.headers["Location"] == "ws://example.com:81/slash/?a=b"
            assert (await response_to(server, "http://example.com/none")).status_code == 404

    run_clean(main)


def test_slashes_at_the_start_name_no_host() -> None:
    async def main() -> None:
        async with route() as server:
            assert (await response_to(server, "//elsewhere/slash/")).status_code == 404

    run_clean(main)


@pytest.mark.parametrize("host", [None, "a" * 70, "a..b"])
def test_strange_hosts(host: str | None) -> None:
    async def main() -> None:
        async with route() as server:
            assert (await response_to(server, "/", Host=host)).status_code == 400

    run_clean(main)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_process_request_comes_first(asynchronous: bool) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(418, "teapot\n") if request.path == "/tea" else None

    async def refuse_later(connection: ServerConnection, request: Request) -> Response | None:
        await asyncio.sleep(0)
        return refuse(connection, request)

    async def main() -> None:
        process_request: Callable[..., Any] = refuse_later if asynchronous else refuse
        async with route(process_request=process_request) as server:
            assert (await response_to(server, "/tea")).status_code == 418
            assert (await response_to(server, "/none")).status_code == 404
            async with connect(server) as ws:
                assert await ws.recv() == "[]"

    run_clean(main)


def test_tls() -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        async with route(ssl=server_context) as server:
            uri = f"wss://localhost:{port_of(server)}/slash"
            async with trunkline.connect(uri, ssl=client_context, proxy=None) as ws:
                assert ws.request.path == "/slash/"

    run_clean(main)


def test_own_router() -> None:
    class Polite(Router):
        def not_found(self, connection: ServerConnection) -> Response:
            return connection.respond(404, "Sorry")

    async def main() -> None:
        async with route(create_router=Polite) as server:
            assert (await response_to(server, "/none")).body == b"Sorry"

    run_clean(main)


def test_unix(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        async with (
            trunkline.unix_route(rules(), path),
            trunkline.unix_connect(path, "ws://localhost/room/1/attic") as ws,
        ):
            assert await ws.recv() == "[('name', 'attic'), ('number', 1)]"

    run_clean(main)
