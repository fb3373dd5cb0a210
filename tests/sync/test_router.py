"""A handler for each path, for threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.routing import Map, Rule

from tests.support.threads import port_of, running
from trunkline.exceptions import InvalidStatus
from trunkline.http11 import Request, Response
from trunkline.sync.client import connect, unix_connect
from trunkline.sync.router import Router, route, unix_route
from trunkline.sync.server import ServerConnection


def show(ws: ServerConnection, **parameters: Any) -> None:
    """Tell the client how it is called."""
    ws.send(repr(sorted(parameters.items())))


def rules() -> Map:
    return Map([
        Rule("/", endpoint=show),
        Rule("/room/<int:number>/<name>", endpoint=show),
        Rule("/slash/", endpoint=show),
    ])  # fmt: skip


@contextlib.contextmanager
def routed(**options: Any) -> Iterator[str]:
    with running(route(rules(), "localhost", 0, **options)) as server:
        yield f"ws://localhost:{port_of(server)}"


@pytest.mark.parametrize(
    ("path", "expected"), [("/", "[]"), ("/room/7/a%20b?x=1", "[('name', 'a%20b'), ('number', 7)]")]
)
def test_handler_and_parameters(path: str, expected: str) -> None:
    with routed() as uri, connect(uri + path) as ws:
        assert ws.recv() == expected


def test_path_without_a_rule() -> None:
    with routed() as uri, pytest.raises(InvalidStatus, match="HTTP 404") as caught:
        connect(uri + "/nowhere")
    assert caught.value.response.body == b"Not Found"


def test_redirect() -> None:
    with routed() as uri, connect(uri + "/slash") as ws:
        assert ws.request.path == "/slash/"


def test_process_request_comes_first() -> None:
    def process_request(ws: ServerConnection, request: Request) -> Response | None:
        return ws.respond(200, "OK\n") if request.path == "/health" else None

    with routed(process_request=process_request) as uri:
        with pytest.raises(InvalidStatus, match="HTTP 200"):
            connect(uri + "/health")
        with connect(uri) as ws:
            assert ws.recv() == "[]"


def test_router_can_be_replaced() -> None:
    class Mine(Router):
        def not_found(self, connection: ServerConnection) -> Response:
            return connection.respond(410, "Gone")

    with routed(create_router=Mine) as uri, pytest.raises(InvalidStatus, match="HTTP 410"):
        connect(uri + "/nowhere")


def test_unix_route(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with running(unix_route(rules(), path)), unix_connect(path) as ws:
        assert ws.recv() == "[]"
