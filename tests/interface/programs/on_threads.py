"""A program on threads, in which type checkers know each type."""

from typing import Any, assert_type

from trunkline.http11 import Request, Response
from trunkline.sync.client import ClientConnection, connect, reconnect
from trunkline.sync.server import Server, ServerConnection, serve


class Move:
    x: int


def handler(ws: ServerConnection) -> None:
    for message in ws:
        assert_type(message, str | bytes)
        ws.send(message)


def process_request(connection: ServerConnection, request: Request) -> Response | None:
    return connection.respond(404, "no") if request.path == "/" else None


def serving() -> None:
    with serve(handler, "localhost", 8765, process_request=process_request, threads=64) as server:
        assert_type(server, Server)
        server.serve_forever()


def connecting() -> None:
    with connect("ws://localhost") as ws:
        assert_type(ws, ClientConnection)
        assert_type(ws.recv(timeout=10), str | bytes)
        assert_type(ws.recv_json(Move, timeout=10), Move)
        for fragment in ws.recv_streaming():
            assert_type(fragment, str | bytes)
    settings: dict[str, Any] = {"open_timeout": 5}
    connect("ws://localhost", legacy=True, **settings).close()
    assert_type(connect("ws://localhost", legacy=True, max_size=None, source_address=("", 0)), ClientConnection)
    assert_type(connect("ws://localhost", legacy=False), reconnect)
    for again in reconnect("ws://localhost"):
        assert_type(again, ClientConnection)
