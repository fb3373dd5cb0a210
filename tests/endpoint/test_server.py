"""Decisions of servers on all drivers: hooks that may be coroutine functions, and those that can't be awaited."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import Any

import pytest

from trunkline.datastructures import Headers
from trunkline.endpoint.server import BaseServer, get_socket_name, run_now
from trunkline.handshake.server import ServerHandshake
from trunkline.http11 import Request, Response

REQUEST = Request(
    "/",
    Headers(
        {
            "Host": "example.com",
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
    ),
)


class Connection:
    """The parts of an opening and of its connection that a server needs."""

    def __init__(self) -> None:
        self.connection = self
        self.handshake = ServerHandshake()
        self.logger = logging.getLogger("websockets.server")

    def respond(self, status: int, text: str) -> Response:
        return self.handshake.reject(status, text)


async def handler(connection: Any) -> None: ...


def answer(**rules: Any) -> Response:
    return run_now(BaseServer(handler, **rules).answer(Connection(), REQUEST))


def test_answer_without_hooks() -> None:
    response = answer(server_header="mine")
    assert (response.status_code, response.headers["Server"]) == (101, "mine")


def test_hooks_see_and_replace_what_is_answered() -> None:
    seen: list[Any] = []

    def process_request(connection: Any, request: Request) -> None:
        seen.append(request.path)

    async def process_response(connection: Any, request: Request, response: Response) -> Response:
        seen.append(response.status_code)
        return connection.respond(418, "no")

    assert answer(process_request=process_request, process_response=process_response).status_code == 418
    assert seen == ["/", 101]


def test_a_hook_that_waits_where_nobody_can_is_a_fault_of_the_hook(caplog: pytest.LogCaptureFixture) -> None:
    async def process_request(connection: Any, request: Request) -> None:
        await asyncio.sleep(0)

    with caplog.at_level(logging.ERROR):
        assert answer(process_request=process_request).status_code == 500
    assert "can't be process_request" in str(caplog.records[0].exc_info)


def test_what_ignores_that_nobody_waits() -> None:
    async def stubborn() -> None:
        while True:
            with contextlib.suppress(TypeError):
                await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="nobody waits"):
        run_now(stubborn())


def test_name_of_a_socket(tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        assert get_socket_name(sock) == f"127.0.0.1:{sock.getsockname()[1]}"
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as sock:
        assert get_socket_name(sock) == f"[::1]:{sock.getsockname()[1]}"
    path = str(tmp_path / "socket")
    with socket.create_server(path, family=socket.AF_UNIX) as sock:
        assert get_socket_name(sock) == path
