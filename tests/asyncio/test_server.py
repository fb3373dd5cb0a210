"""The promises of `websockets` 17.4 about its asyncio server, and those that ours adds."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import logging
import os
import re
import socket
import ssl
import tempfile
import uuid
import warnings
import weakref
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean, settled
from tests.support.pair import Accepted, connect, echo, idle, pair, port_of, serve
from tests.support.raw import RawPeer, header, request, status_of
from trunkline.asyncio.server import Server, ServerConnection, basic_auth, unix_serve
from trunkline.core.session import Session
from trunkline.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
    NegotiationError,
    ProtocolError,
)
from trunkline.testing import memory
from trunkline.testing.tls import tls_contexts

LOGGER = "websockets.server"


async def refusal(server: Server, *headers: str, **options: Any) -> bytes:
    """The head of the server's answer to a handshake."""
    async with await RawPeer.connect(port_of(server)) as peer:
        await peer.send(request(*headers, **options))
        return await peer.read_head()


def messages(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """Messages of that level, without those of asyncio's debug mode."""
    records = [record for record in caplog.records if record.name != "asyncio"]
    return [record.getMessage() for record in records if record.levelno == level]


# --- signatures ---

DEFAULTS: dict[str, Any] = {
    "host": None,
    "port": None,
    "origins": None,
    "extensions": None,
    "subprotocols": None,
    "select_subprotocol": None,
    "compression": "deflate",
    "process_request": None,
    "process_response": None,
    "open_timeout": 10,
    "ping_interval": 20,
    "ping_timeout": 20,
    "close_timeout": 10,
    "max_size": 2**20,
    "max_queue": 16,
    "write_limit": 2**15,
    "logger": None,
    "create_connection": None,
}


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items(), ids=DEFAULTS.keys())
def test_default_of_serve(name: str, default: Any) -> None:
    assert inspect.signature(trunkline.serve).parameters[name].default == default


def test_only_handler_host_and_port_are_positional() -> None:
    kinds = {name: parameter.kind for name, parameter in inspect.signature(trunkline.serve).parameters.items()}
    positional = [name for name, kind in kinds.items() if kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert positional == ["handler", "host", "port"]
    assert inspect.Parameter.VAR_KEYWORD in kinds.values()


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (trunkline.unix_serve, {"handler": inspect.Parameter.empty, "path": None}),
        (basic_auth, {"realm": "", "credentials": None, "check_credentials": None}),
        (Server.close, {"close_connections": True, "code": 1001, "reason": ""}),
        (trunkline.broadcast, {"text": None, "raise_exceptions": False}),
    ],
    ids=["unix_serve", "basic_auth", "Server.close", "broadcast"],
)
def test_default_of(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    parameters = inspect.signature(function).parameters
    assert {name: parameters[name].default for name in expected} == expected


@pytest.mark.parametrize("name", ["serve", "unix_serve", "broadcast", "basic_auth", "Server", "ServerConnection"])
def test_top_level_name_is_that_of_the_module(name: str) -> None:
    assert getattr(trunkline, name) is getattr(trunkline.asyncio.server, name)
    assert name in trunkline.__all__


def test_unknown_keyword_argument_is_named() -> None:
    async def main() -> None:
        with pytest.raises(TypeError, match="pingintervall"):
            await serve(pingintervall=1)

    asyncio.run(main())


# --- handlers ---


def test_handler_with_one_parameter() -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.send("one")

    async def main() -> None:
        async with serve(handler) as server, connect(server) as ws:
            assert await ws.recv() == "one"

    run_clean(main)


def test_handler_with_two_parameters_gets_the_path() -> None:
    async def handler(ws: ServerConnection, path: str) -> None:
        await ws.send(path)

    async def main() -> None:
        async with serve(handler) as server, connect(server, "/a/b?c=d") as ws:
            assert await ws.recv() == "/a/b?c=d"

    run_clean(main)


def test_handler_that_is_a_bound_method() -> None:
    class Application:
        async def one(self, ws: ServerConnection) -> None:
            await ws.send("one")

        async def two(self, ws: ServerConnection, path: str) -> None:
            await ws.send(f"two {path}")

    async def main() -> None:
        for handler, answer in [(Application().one, "one"), (Application().two, "two /")]:
            async with serve(handler) as server, connect(server) as ws:
                assert await ws.recv() == answer

    run_clean(main)


def test_handler_whose_second_parameter_has_a_default_gets_one() -> None:
    async def handler(ws: ServerConnection, greeting: str = "default") -> None:
        await ws.send(greeting)

    async def main() -> None:
        async with serve(handler) as server, connect(server) as ws:
            assert await ws.recv() == "default"

    run_clean(main)


def test_handler_that_returns_closes_with_1000() -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.recv()

    async def main() -> None:
        async with serve(handler) as server, connect(server) as ws:
            await ws.send("hello")
            with pytest.raises(ConnectionClosedOK) as caught:
                await ws.recv()
            assert caught.value.rcvd.code == 1000

    run_clean(main)


def test_handler_that_raises_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(ws: ServerConnection) -> None:
        raise ValueError("broken")

    async def main() -> None:
        async with serve(handler) as server, connect(server) as ws:
            with pytest.raises(ConnectionClosedError) as caught:
                await ws.recv()
            assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1011, "")

    run_clean(main)
    assert messages(caplog, logging.ERROR) == ["connection handler failed"]


# --- serve without a running loop, as programs for older versions do ---


@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")
def test_serve_is_constructed_without_a_running_loop() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        start_server = trunkline.serve(echo, "127.0.0.1", 0)
        server = asyncio.get_event_loop().run_until_complete(start_server)
        assert isinstance(server, Server)

        async def talk() -> str | bytes:
            async with connect(server) as ws:
                await ws.send("hello")
                return await ws.recv()

        talking = loop.create_task(talk())
        talking.add_done_callback(lambda _: loop.stop())
        loop.run_forever()
        assert talking.result() == "hello"
        server.close()
        loop.run_until_complete(server.wait_closed())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_serve_can_be_given_to_asyncio_run_in_a_coroutine() -> None:
    async def main() -> Server:
        return await trunkline.serve(echo, "127.0.0.1", 0)

    async def outer() -> None:
        server = await main()
        assert server.is_serving()
        server.close()
        await server.wait_closed()

    asyncio.run(outer())


# --- Server ---


def test_server_is_an_async_context_manager_that_closes() -> None:
    async def main() -> None:
        async with serve() as server:
            assert isinstance(server, Server)
            assert server.is_serving()
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            await connect(port)

    async def find_port() -> int:
        async with serve() as server:
            return port_of(server)

    port = asyncio.run(find_port())
    run_clean(main)


def test_server_knows_its_connections() -> None:
    async def main() -> None:
        async with serve(idle) as server:
            assert server.connections == set()
            async with connect(server), connect(server):
                await settled(lambda: len(server.connections) == 2)
                assert all(isinstance(connection, ServerConnection) for connection in server.connections)
                assert len(server.connections) == 2
            await settled(lambda: not server.connections)
            assert server.connections == set()

    run_clean(main)


def test_server_knows_its_sockets_and_loop() -> None:
    async def main() -> None:
        async with serve() as server:
            assert server.get_loop() is asyncio.get_running_loop()
            assert [sock.getsockname()[0] for sock in server.sockets] == ["127.0.0.1"]
            assert isinstance(server.sockets, tuple)
        assert server.sockets == ()

    run_clean(main)


@pytest.mark.parametrize("engine", [pytest.param("reactor", marks=pytest.mark.compiled), "transports"])
def test_server_stops_serving_in_the_turn_after_close(engine: str) -> None:
    async def main() -> None:
        async with serve(engine=engine) as server:
            server.close()
            assert server.is_serving()
            assert server.sockets
            await asyncio.sleep(0)
            assert not server.is_serving()
            assert server.sockets == ()

    run_clean(main)


def test_server_starts_serving_later() -> None:
    async def main() -> None:
        async with serve(start_serving=False) as server:
            assert not server.is_serving()
            await server.start_serving()
            assert server.is_serving()
            async with connect(server) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"

    run_clean(main)


def test_serve_forever_ends_when_cancelled() -> None:
    async def main() -> None:
        async with serve() as server:
            serving = asyncio.create_task(server.serve_forever())
            async with connect(server) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            serving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await serving
            await server.wait_closed()
            assert not server.is_serving()

    run_clean(main)


@pytest.mark.parametrize("when", ["while it serves", "before"])
def test_serve_forever_returns_when_the_server_is_closed(when: str) -> None:
    async def main() -> None:
        async with serve() as server:
            if when == "before":
                server.close()
            serving = asyncio.create_task(server.serve_forever())
            async with asyncio.timeout(10):
                while when != "before" and not server.is_serving():
                    await asyncio.sleep(0)
                server.close()
                assert await serving is None
            assert not server.is_serving()

    run_clean(main)


def test_wait_closed_waits_for_close() -> None:
    async def main() -> None:
        async with serve() as server, connect(server) as ws:
            waiting = asyncio.create_task(server.wait_closed())
            await ws.send("hello")
            assert await ws.recv() == "hello"
            assert not waiting.done()
            server.close()
            await waiting
            assert not server.connections

    run_clean(main)


@pytest.mark.parametrize("farewell", [{"code": 999}, {"code": 1006}, {"reason": "x" * 124}], ids=repr)
def test_server_is_not_closed_with_what_cannot_be_sent(farewell: dict[str, Any]) -> None:
    async def main() -> None:
        async with serve() as server, connect(server) as ws:
            with pytest.raises(ProtocolError):
                server.close(**farewell)
            assert server.is_serving()
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)


def test_server_closes_with_code_and_reason() -> None:
    async def main() -> None:
        async with serve(idle) as server, connect(server) as ws:
            server.close(code=1012, reason="deploying")
            await server.wait_closed()
            with pytest.raises(ConnectionClosedError):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (1012, "deploying")

    run_clean(main)


def test_server_close_can_leave_connections_open() -> None:
    async def main() -> None:
        async with serve() as server, connect(server) as ws:
            port = port_of(server)
            server.close(close_connections=False)
            await settled(lambda: not server.is_serving())
            with pytest.raises(ConnectionRefusedError):
                await connect(port)
            await ws.send("still here")
            assert await ws.recv() == "still here"
            await ws.close()
            await server.wait_closed()

    run_clean(main)


def test_server_close_is_idempotent_and_synchronous() -> None:
    async def main() -> None:
        server = await serve()
        assert server.close() is None
        assert server.close() is None
        await server.wait_closed()
        await server.wait_closed()

    run_clean(main)


def test_server_logs_its_life(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> int:
        async with serve() as server:
            async with connect(server):
                pass
            await settled(lambda: not server.connections)
            return port_of(server)

    port = run_clean(main)
    assert [text.partition(":")[0] for text in messages(caplog, logging.INFO)] == [
        "server listening on 127.0.0.1",
        "connection open",
        "connection closed",
        "server closing",
        "server closed",
    ]
    assert messages(caplog, logging.INFO)[0].endswith(f":{port}")
    assert LOGGER in {record.name for record in caplog.records}


def test_server_logs_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with serve(origins=["https://example.com"]) as server:
            await refusal(server)

    run_clean(main)
    texts = messages(caplog, logging.INFO)
    assert re.fullmatch(r"connection rejected \(403 Forbidden\): 127\.0\.0\.1:\d+ /", texts[1])
    assert any(re.fullmatch(r"connection closed: 127\.0\.0\.1:\d+ /", text) for text in texts)


def test_server_logs_an_answer_of_process_request(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with serve(process_request=lambda ws, request: ws.respond(404, "no such room")) as server:
            await refusal(server)

    run_clean(main)
    texts = messages(caplog, logging.INFO)
    assert re.fullmatch(r"HTTP response sent \(404 Not Found\): 127\.0\.0\.1:\d+ /", texts[1])
    assert any(text.startswith("connection closed: ") for text in texts)


@pytest.mark.parametrize("refuse", [lambda ws, *heads: ws.respond(403, "not you"), lambda *args: 1 / 0])
def test_server_logs_an_answer_of_process_response(refuse: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with serve(process_response=refuse) as server:
            await refusal(server)

    run_clean(main)
    assert messages(caplog, logging.INFO)[1].startswith("connection rejected (")


def test_logger_can_be_given(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def main() -> None:
        async with serve(logger=logging.getLogger("mine")) as server, connect(server):
            pass

    run_clean(main)
    assert {record.name for record in caplog.records} - {"asyncio"} == {"mine"}


# --- ServerConnection ---


def test_connection_knows_its_request_and_response() -> None:
    async def main() -> None:
        async with pair({"additional_headers": {"X-Hello": "world"}}) as (client, server):
            assert isinstance(server.id, uuid.UUID)
            assert server.request.path == "/"
            assert server.request.method == "GET"
            assert server.request.headers["X-Hello"] == "world"
            assert server.response.status_code == 101
            assert server.response.headers["Upgrade"] == "websocket"
            assert server.remote_address == client.local_address
            assert server.local_address == client.remote_address
            assert server.local_address[0] == "127.0.0.1"
            assert server.subprotocol is None
            assert server.state is trunkline.State.OPEN
            assert (server.close_code, server.close_reason) == (None, None)

    run_clean(main)


def test_connection_has_the_attributes_of_older_versions() -> None:
    async def main() -> None:
        async with pair() as (client, server):
            assert (server.path, server.open, server.closed) == ("/", True, False)
            assert (client.path, client.open, client.closed) == ("/", True, False)
            assert server.request_headers is server.request.headers
            assert server.response_headers is server.response.headers
            assert client.request_headers["Upgrade"] == "websocket"
            assert client.response_headers["Upgrade"] == "websocket"
            await client.close()
            await server.wait_closed()
            assert (server.open, server.closed) == (False, True)
            assert (client.open, client.closed) == (False, True)

    run_clean(main)


def test_connection_knows_its_server() -> None:
    async def main() -> None:
        accepted = Accepted()
        async with serve(accepted) as server, connect(server):
            assert (await accepted.connection()).server is server

    run_clean(main)


def test_connection_class_can_be_replaced() -> None:
    class MyConnection(ServerConnection):
        def __init__(self, protocol: Any, server: Server, **kwargs: Any) -> None:
            super().__init__(protocol, server, **kwargs)
            self.mine = server.options

    async def main() -> None:
        async with pair({}, create_connection=MyConnection) as (_, server):
            assert type(server) is MyConnection
            assert server.mine is server.options

    run_clean(main)


@pytest.mark.parametrize("code", [1000, 1011, 1001])
def test_the_end_of_a_handler_goes_through_close_of_a_subclass(code: int) -> None:
    calls: list[tuple[Any, ...]] = []

    class MyConnection(ServerConnection):
        async def close(self, *args: Any) -> None:
            calls.append(args)
            await super().close(*args)

    async def handler(ws: ServerConnection) -> None:
        if code == 1001:
            ws.server.close()
            await ws.wait_closed()
        elif code == 1011:
            raise ValueError("broken")

    async def main() -> None:
        async with serve(handler, create_connection=MyConnection) as server, connect(server) as ws:
            await ws.wait_closed()
            assert ws.close_code == code
        assert calls[0] == {1000: (), 1011: (1011,), 1001: (1001, "")}[code]

    run_clean(main)


def test_factory_of_connections_can_set_limits() -> None:
    def create_connection(*args: Any, **kwargs: Any) -> ServerConnection:
        return ServerConnection(*args, **(kwargs | {"max_queue": 7}))

    async def main() -> None:
        async with pair({}, create_connection=create_connection, max_size=1000) as (_, server):
            assert server.options.max_queue == 7
            assert server.options.max_size == 1000

    run_clean(main)


def test_server_header_can_be_changed_or_left_out() -> None:
    async def main() -> None:
        for options, expected in [({"server_header": "mine"}, "mine"), ({"server_header": None}, None)]:
            async with serve(**options) as server:
                assert header(await refusal(server), "Server") == expected
        async with serve() as server:
            assert header(await refusal(server), "Server")

    run_clean(main)


# --- process_request, process_response ---


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
def test_process_request_lets_pass(is_async: bool) -> None:
    seen: list[tuple[str, str | None]] = []

    def process_request(ws: ServerConnection, request: trunkline.Request) -> None:
        seen.append((request.path, request.headers.get("Host")))
        assert ws.request is request

    async def process_request_async(ws: ServerConnection, request: trunkline.Request) -> None:
        await asyncio.sleep(0)
        process_request(ws, request)

    async def main() -> None:
        async with serve(process_request=process_request_async if is_async else process_request) as server:
            async with connect(server, "/path") as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"
            assert seen == [("/path", f"127.0.0.1:{port_of(server)}")]

    run_clean(main)


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
def test_process_request_answers(is_async: bool) -> None:
    def process_request(ws: ServerConnection, request: trunkline.Request) -> trunkline.Response:
        return ws.respond(HTTPStatus.FORBIDDEN, "go away\n")

    async def process_request_async(ws: ServerConnection, request: trunkline.Request) -> trunkline.Response:
        return process_request(ws, request)

    async def main() -> None:
        async with serve(process_request=process_request_async if is_async else process_request) as server:
            with pytest.raises(InvalidStatus) as caught:
                await connect(server)
            assert caught.value.response.status_code == 403
            assert caught.value.response.reason_phrase == "Forbidden"
            assert caught.value.response.body == b"go away\n"
            assert caught.value.response.headers["Content-Length"] == "8"
            assert caught.value.response.headers["Content-Type"] == "text/plain; charset=utf-8"

    run_clean(main)


def test_process_request_answers_plain_http() -> None:
    def health_check(ws: ServerConnection, request: trunkline.Request) -> trunkline.Response | None:
        return ws.respond(HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None

    async def main() -> None:
        async with serve(process_request=health_check) as server:
            async with await RawPeer.connect(port_of(server)) as peer:
                await peer.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                reply = await peer.read_to_eof()
                assert status_of(reply) == 200
                assert reply.endswith(b"\r\n\r\nOK\n")
            async with await RawPeer.connect(port_of(server)) as peer:
                await peer.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert status_of(await peer.read_to_eof()) == 426

    run_clean(main)


def test_process_request_sees_other_methods() -> None:
    def process_request(ws: ServerConnection, request: trunkline.Request) -> trunkline.Response | None:
        return ws.respond(200, f"{request.method}\n") if request.method == "HEAD" else None

    async def main() -> None:
        async with serve(process_request=process_request) as server:
            for method, expected in [("HEAD", 200), ("PUT", 405)]:
                async with await RawPeer.connect(port_of(server)) as peer:
                    await peer.send(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                    assert status_of(await peer.read_to_eof()) == expected

    run_clean(main)


class Dawdler:
    """A hook that never comes to an end by itself."""

    def __init__(self) -> None:
        self.asked: list[ServerConnection] = []
        self.cancelled = False

    async def __call__(self, ws: ServerConnection, *heads: Any) -> None:
        self.asked.append(ws)
        try:
            await ws.loop.create_future()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


@pytest.mark.parametrize("hook", ["process_request", "process_response"])
def test_hook_that_takes_too_long_is_cancelled(hook: str) -> None:
    dawdle = Dawdler()

    async def main() -> None:
        async with (
            serve(open_timeout=0.05, **{hook: dawdle}) as server,
            await RawPeer.connect(port_of(server)) as peer,
        ):
            await peer.send(request())
            assert await peer.read_to_eof() == b""
        assert dawdle.cancelled

    run_clean(main)


@pytest.mark.parametrize("first", ["client", "server"])
def test_hook_of_a_client_that_is_gone_takes_no_longer(first: str) -> None:
    dawdle = Dawdler()

    async def main() -> None:
        async with serve(open_timeout=0.2, close_timeout=0.2, process_request=dawdle) as server:
            async with await RawPeer.connect(port_of(server)) as peer:
                await peer.send(request())
                await settled(lambda: bool(dawdle.asked))
                if first == "server":
                    server.close()
                    await server.wait_closed()
                    assert status_of(await peer.read_head()) == 503
            await dawdle.asked[0].wait_closed()
        assert dawdle.cancelled

    run_clean(main)


def let_pass(*args: Any) -> None:
    """A hook."""


async def let_pass_later(*args: Any) -> None:
    """A hook that may wait."""


@pytest.mark.parametrize(
    "hooks",
    [{}, {"process_request": let_pass}, {"process_request": let_pass_later}, {"process_response": let_pass}],
    ids=["none", "function", "coroutine", "response"],
)
@pytest.mark.parametrize("engine", ["auto", "transports"])
def test_closing_waits_for_requests_on_their_way(engine: str, hooks: dict[str, Any]) -> None:
    """As in a rolling restart, in which clients connect all the time."""

    async def main() -> None:
        async with serve(engine=engine, **hooks) as server, await RawPeer.connect(port_of(server)) as peer:
            server.grace = 10
            async with connect(server) as probe:  # all before it have been accepted
                server.close()
                await probe.wait_closed()
            await peer.send(request())
            assert status_of(await peer.read_head()) == 101
            assert await peer.read_close() == 1001

    run_clean(main)


@pytest.mark.parametrize("engine", ["auto", "transports"])
def test_closing_does_not_wait_for_requests_that_do_not_come(engine: str) -> None:
    async def main() -> None:
        async with serve(engine=engine) as server, await RawPeer.connect(port_of(server)) as peer:
            await peer.send(request()[:-2])
            server.grace = 0.05
            async with connect(server):
                server.close()
                await server.wait_closed()
            assert status_of(await peer.read_head()) == 503

    run_clean(main)


def test_closing_refuses_a_hook_that_takes_longer() -> None:
    dawdle = Dawdler()

    async def main() -> None:
        async with serve(process_request=dawdle) as server, await RawPeer.connect(port_of(server)) as peer:
            server.grace = 0.2
            await settled(lambda: bool(server._openings))
            server.close()
            await settled(lambda: False, turns=5)
            await peer.send(request())
            assert status_of(await peer.read_head()) == 503
        assert dawdle.cancelled

    run_clean(main)


def test_handler_has_begun_when_its_connection_is_closed() -> None:
    """So it can say with which code, as rooms do."""

    async def handler(ws: ServerConnection) -> None:
        ws.farewell = (3001, "shutdown")
        await ws.wait_closed()

    async def main() -> None:
        async with serve(handler) as server, await RawPeer.connect(port_of(server)) as peer:
            server.grace = 10
            await peer.send(request()[:-2])
            await settled(lambda: bool(server._openings))
            server.close()
            await peer.send(request()[-2:])
            assert status_of(await peer.read_head()) == 101
            assert await peer.read_close() == 3001

    run_clean(main)


def test_a_connection_is_told_that_its_server_closes_also_when_only_its_handler_still_runs() -> None:
    told: list[str] = []
    ended = asyncio.Event()

    async def handler(ws: ServerConnection) -> None:
        ws.on_server_closing = lambda: told.append(ws.state.name)
        await ws.send("ready")
        await ended.wait()

    async def main() -> None:
        async with serve(handler) as server:
            url = f"ws://127.0.0.1:{port_of(server)}"
            async with trunkline.connect(url) as gone, trunkline.connect(url) as there:
                await gone.recv()
                await there.recv()
                await gone.close()
                server.close()
                await settled(lambda: len(told) == 2)
                ended.set()
        assert sorted(told) == ["CLOSED", "OPEN"]

    run_clean(main)


def test_many_connections_are_closed_in_portions() -> None:
    """Others have their turn in between."""
    turns = 0
    closed: list[int] = []

    class Counting(ServerConnection):
        async def close(self, *args: Any, **kwargs: Any) -> None:
            closed.append(turns)
            await super().close(*args, **kwargs)

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def main() -> None:
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                trunkline.serve(idle, port=8765, create_connection=Counting, compression=None)
            )
            for _ in range(250):
                await stack.enter_async_context(trunkline.connect("ws://localhost:8765", compression=None))
            counting = asyncio.create_task(count())
            closed.clear()
            server.close()
            await server.wait_closed()
            counting.cancel()
        assert [len(list(portion)) for _, portion in itertools.groupby(closed[:250])] == [100, 100, 50]

    memory.run(main())


@pytest.mark.parametrize("is_async", [False, True], ids=["function", "coroutine"])
@pytest.mark.parametrize("hook", ["process_request", "process_response"])
def test_hook_that_raises_is_500_and_logged(hook: str, is_async: bool, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any) -> None:
        raise ValueError("broken")

    async def fail_async(*args: Any) -> None:
        fail()

    async def main() -> None:
        async with serve(**{hook: fail_async if is_async else fail}) as server:
            head = await refusal(server)
            assert status_of(head) == 500
            assert b"broken" not in head

    run_clean(main)
    assert messages(caplog, logging.ERROR) == [f"{hook} failed"]
    assert caplog.records[0].exc_info
    assert isinstance(caplog.records[0].websocket, ServerConnection)  # type: ignore[attr-defined]


def test_refusals_are_logged_with_their_connection(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any) -> str:
        raise ValueError("broken")

    async def main() -> None:
        async with serve(select_subprotocol=fail) as server:
            assert status_of(await refusal(server)) == 500
            async with await RawPeer.connect(port_of(server)) as peer:
                await peer.send(b"no request\r\n\r\n")
                assert status_of(await peer.read_head()) == 400

    outcomes: list[bool] = []

    def look(record: logging.LogRecord) -> bool:
        if record.getMessage().startswith("opening handshake failed"):
            outcomes.append(isinstance(record.websocket, ServerConnection))  # type: ignore[attr-defined]
        return True

    with caplog.at_level(logging.INFO, "websockets.server"), caplog.filtering(look):  # type: ignore[arg-type]
        run_clean(main)
    assert outcomes == [True, True]


@pytest.mark.parametrize("status", [101, 403])
def test_process_response_sees_the_response_on_the_connection(status: int) -> None:
    seen: list[Any] = []

    def process_request(ws: ServerConnection, request: trunkline.Request) -> trunkline.Response | None:
        assert ws.response is None
        return None if status == 101 else ws.respond(status, "no")

    def process_response(ws: ServerConnection, request: trunkline.Request, response: trunkline.Response) -> None:
        seen.append((ws.request is request, ws.response is response, response.status_code))

    async def main() -> None:
        async with serve(process_request=process_request, process_response=process_response) as server:
            await refusal(server)

    run_clean(main)
    assert seen == [(True, True, status)]


def test_process_response_changes_the_response() -> None:
    def process_response(ws: ServerConnection, request: trunkline.Request, response: trunkline.Response) -> None:
        assert response.status_code == 101
        response.headers["X-Added"] = request.path

    async def main() -> None:
        async with serve(process_response=process_response) as server, connect(server, "/path") as ws:
            assert ws.response.headers["X-Added"] == "/path"

    run_clean(main)


def test_process_response_replaces_the_response() -> None:
    async def process_response(
        ws: ServerConnection, request: trunkline.Request, response: trunkline.Response
    ) -> trunkline.Response:
        headers = trunkline.Headers(response.headers)
        headers["X-Replaced"] = "yes"
        return trunkline.Response(response.status_code, response.reason_phrase, headers, response.body or b"")

    async def main() -> None:
        async with serve(process_response=process_response) as server, connect(server) as ws:
            assert ws.response.headers["X-Replaced"] == "yes"
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)


def test_extra_headers_is_an_alias() -> None:
    async def main() -> None:
        async with serve(extra_headers={"X-Extra": "yes"}) as server, connect(server) as ws:
            assert ws.response.headers["X-Extra"] == "yes"

    run_clean(main)


# --- authentication ---


def check_async(username: str, password: str) -> Any:
    async def check() -> bool:
        return (username, password) == ("hello", "iloveyou")

    return check()


@pytest.mark.parametrize(
    "options",
    [
        {"credentials": ("hello", "iloveyou")},
        {"credentials": [("hello", "iloveyou"), ("goodbye", "ihateu")]},
        {"check_credentials": lambda username, password: (username, password) == ("hello", "iloveyou")},
        {"check_credentials": check_async},
    ],
    ids=["one", "several", "function", "coroutine"],
)
def test_basic_auth(options: dict[str, Any]) -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.send(ws.username)

    async def main() -> None:
        async with serve(handler, process_request=basic_auth(realm="r", **options)) as server:
            port = port_of(server)
            async with trunkline.connect(f"ws://hello:iloveyou@127.0.0.1:{port}", proxy=None) as ws:
                assert await ws.recv() == "hello"
            for user_info in ("", "hello:wrong@", "nobody:iloveyou@"):
                with pytest.raises(InvalidStatus) as caught:
                    await trunkline.connect(f"ws://{user_info}127.0.0.1:{port}", proxy=None)
                assert caught.value.response.status_code == 401
                assert caught.value.response.headers["WWW-Authenticate"].startswith('Basic realm="r"')

    run_clean(main)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"credentials": ("a", "b"), "check_credentials": lambda *args: True},
        {"credentials": "hello"},
        {"credentials": ("a", "b", "c")},
        {"credentials": 42},
    ],
)
def test_basic_auth_needs_one_way_to_check(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        basic_auth(**options)


# --- origins, subprotocols ---


def test_origin_is_checked() -> None:
    async def main() -> None:
        async with serve(origins=["https://example.com", re.compile(r"https://\w+\.example\.org")]) as server:
            for origin in ("https://example.com", "https://a.example.org"):
                async with connect(server, origin=origin):
                    pass
            for options in ({}, {"origin": "https://evil.com"}):
                with pytest.raises(InvalidStatus, match="403"):
                    await connect(server, **options)

    run_clean(main)


@pytest.mark.parametrize(
    ("served", "offered", "selected"),
    [
        (["a", "b"], ["b", "a"], "a"),
        (["a", "b"], ["b"], "b"),
        (None, ["b"], None),
        (None, None, None),
    ],
    ids=["preference of the server", "only one", "server has none", "none"],
)
def test_subprotocol(served: Any, offered: Any, selected: str | None) -> None:
    async def main() -> None:
        async with pair({"subprotocols": offered}, subprotocols=served) as (client, server):
            assert client.subprotocol == server.subprotocol == selected

    run_clean(main)


@pytest.mark.parametrize("offered", [None, ["x"]], ids=["none offered", "none shared"])
def test_subprotocol_is_required_when_the_server_has_some(offered: Any) -> None:
    async def main() -> None:
        async with serve(subprotocols=["a"]) as server:
            with pytest.raises(InvalidStatus, match="400"):
                await connect(server, subprotocols=offered)

    run_clean(main)


def test_select_subprotocol() -> None:
    seen: list[Any] = []

    def select(ws: ServerConnection, offered: Any) -> str | None:
        seen.append(list(offered))
        if "bad" in offered:
            raise NegotiationError("no bad ones")
        return "b" if "b" in offered else None

    async def main() -> None:
        async with serve(idle, select_subprotocol=select) as server:
            async with connect(server, subprotocols=["a", "b"]) as ws:
                assert ws.subprotocol == "b"
            async with connect(server, subprotocols=["a"]) as ws:
                assert ws.subprotocol is None
            with pytest.raises(InvalidStatus, match="400"):
                await connect(server, subprotocols=["bad"])

    run_clean(main)
    assert seen == [["a", "b"], ["a"], ["bad"]]


def test_subprotocols_that_are_a_string_are_a_mistake() -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            await serve(subprotocols="chat")

    asyncio.run(main())


@pytest.mark.parametrize("options", [{"compression": "brotli"}, {"ping_interval": -1}])
def test_option_values_are_checked(options: dict[str, Any]) -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"brotli|ping_interval"):
            await serve(**options)

    asyncio.run(main())


# --- broadcast ---


def test_broadcast_sends_to_all() -> None:
    async def main() -> None:
        async with serve(idle) as server, connect(server) as one, connect(server) as two:
            await settled(lambda: len(server.connections) == 2)
            trunkline.broadcast(server.connections, "text")
            trunkline.broadcast(server.connections, b"binary")
            trunkline.broadcast(server.connections, bytearray(b"text too"), text=True)
            trunkline.broadcast(server.connections, "binary too", text=False)
            for ws in (one, two):
                assert [await ws.recv() for _ in range(4)] == ["text", b"binary", "text too", b"binary too"]

    run_clean(main)


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_broadcast_of_more_than_a_socket_takes_at_once(compression: Any) -> None:
    async def main() -> None:
        large = trunkline.PreparedMessage(bytes(range(256)) * (1 << 14))
        async with (
            serve(idle, compression=compression) as server,
            connect(server, compression=compression, max_size=None) as one,
            connect(server, compression=compression, max_size=None) as two,
        ):
            await settled(lambda: len(server.connections) == 2)
            buffers = list(large.buffers)
            for _ in range(2):  # what one connection has still to send is no matter of the others
                trunkline.broadcast(server.connections, large)
                trunkline.broadcast(server.connections, "after it " * 50)
                for ws in (one, two):
                    assert [await ws.recv(), await ws.recv()] == [large.payload, "after it " * 50]
            assert large.buffers == buffers

    run_clean(main)


def test_broadcast_takes_any_iterable() -> None:
    async def main() -> None:
        async with pair() as (client, server):
            trunkline.broadcast((ws for ws in [server]), "from a generator")
            trunkline.broadcast([], "to nobody")
            trunkline.broadcast([client], "a client can, too")
            assert await client.recv() == "from a generator"
            assert await server.recv() == "a client can, too"

    run_clean(main)


@pytest.mark.parametrize("message", [["a", "b"], {"a": "b"}, 42, None])
def test_broadcast_of_no_message(message: Any) -> None:
    async def main() -> None:
        async with pair() as (_, server):
            with pytest.raises(TypeError):
                trunkline.broadcast([server], message)

    run_clean(main)


def test_broadcast_skips_closed_connections(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pair() as (client, server):
            await client.close()
            await server.wait_closed()
            trunkline.broadcast([server, client], "too late")
            trunkline.broadcast([server, client], "too late", raise_exceptions=True)

    run_clean(main)
    assert not messages(caplog, logging.WARNING)


async def fragments_that_wait(event: asyncio.Event) -> Any:
    yield "a"
    await event.wait()
    yield "b"


def test_broadcast_skips_connections_in_a_fragmented_message(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with pair() as (client, server):
            event = asyncio.Event()
            sending = asyncio.create_task(server.send(fragments_that_wait(event)))
            await settled(lambda: False, turns=4)
            trunkline.broadcast([server], "skipped")
            with pytest.raises(ExceptionGroup, match="skipped broadcast") as caught:
                trunkline.broadcast([server], "skipped", raise_exceptions=True)
            assert len(caught.value.exceptions) == 1
            event.set()
            await sending
            assert await client.recv() == "ab"

    run_clean(main)
    assert messages(caplog, logging.WARNING) == ["skipped broadcast: sending a fragmented message"]


# --- transports ---


def test_tls() -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        async with trunkline.serve(echo, "localhost", 0, ssl=server_context) as server:
            uri = f"wss://localhost:{port_of(server)}"
            async with trunkline.connect(uri, ssl=client_context, proxy=None) as ws:
                await ws.send("secret " * 100_000)
                assert await ws.recv() == "secret " * 100_000

    run_clean(main)


@pytest.mark.parametrize("side", ["client", "server"])
def test_tls_connections_close_at_once(side: str) -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        accepted = Accepted()
        async with trunkline.serve(accepted, "localhost", 0, ssl=server_context) as server:
            uri = f"wss://localhost:{port_of(server)}"
            async with trunkline.connect(uri, ssl=client_context, proxy=None) as client:
                ends = {"client": client, "server": await accepted.connection()}
                async with asyncio.timeout(5):  # TLS has no half-close: the server may not wait for close_timeout
                    await ends[side].close(4000, "bye")
                    for ws in ends.values():
                        await ws.wait_closed()
                        assert (ws.close_code, ws.close_reason) == (4000, "bye")

    run_clean(main)


def test_tls_clients_verify_by_default() -> None:
    server_context, _ = tls_contexts()

    async def main() -> None:
        async with trunkline.serve(echo, "localhost", 0, ssl=server_context) as server:
            with pytest.raises(ssl.SSLCertVerificationError):
                await trunkline.connect(f"wss://localhost:{port_of(server)}", proxy=None)

    asyncio.run(main())


def test_tls_clients_verify_the_host_name() -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        async with trunkline.serve(echo, "localhost", 0, ssl=server_context) as server:
            uri = f"wss://localhost:{port_of(server)}"
            with pytest.raises(ssl.SSLCertVerificationError):
                await trunkline.connect(uri, ssl=client_context, server_hostname="elsewhere", proxy=None)

    asyncio.run(main())


@pytest.mark.parametrize("path_type", [str, Path])
def test_unix_socket(path_type: type) -> None:
    async def main(path: Any) -> None:
        async with unix_serve(echo, path):
            async with trunkline.unix_connect(path) as ws:
                assert ws.request.headers["Host"] == "localhost"
                await ws.send("hello")
                assert await ws.recv() == "hello"
            async with trunkline.unix_connect(path, "ws://example.com/path") as ws:
                assert ws.request.headers["Host"] == "example.com"
                assert ws.request.path == "/path"

    with tempfile.TemporaryDirectory() as directory:
        run_clean(lambda: main(path_type(os.path.join(directory, "socket"))))


def test_socket_can_be_given() -> None:
    async def main() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        async with trunkline.serve(echo, sock=sock) as server, connect(server) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)


def test_port_may_be_text() -> None:
    async def main() -> None:
        async with trunkline.serve(echo, "localhost", "0") as server, connect(server) as ws:  # as from os.environ
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)


def test_several_addresses() -> None:
    async def main() -> None:
        async with trunkline.serve(echo, ["127.0.0.1", "127.0.0.2"], 0) as server:
            for sock in server.sockets:
                host, port = sock.getsockname()
                async with trunkline.connect(f"ws://{host}:{port}", proxy=None) as ws:
                    await ws.send("hello")
                    assert await ws.recv() == "hello"

    run_clean(main)


def test_nothing_is_deprecated_about_plain_use() -> None:
    async def main() -> None:
        async with serve() as server, connect(server) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_clean(main)
        gc.collect()


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_closed_connections_are_freed_without_the_garbage_collector(compression: str | None) -> None:
    seen: list[weakref.ref[ServerConnection]] = []

    async def handler(ws: ServerConnection) -> None:
        seen.append(weakref.ref(ws))
        await echo(ws)

    async def main() -> None:
        async with serve(handler, compression=compression) as server:
            ws = await connect(server, compression=compression)
            seen.append(weakref.ref(ws))
            await ws.send("hello")
            assert await ws.recv() == "hello"
            sessions = [connection.session for connection in server.connections]
            assert count(Session) == others + 2
            await ws.close()
            del ws, sessions
            await settled(lambda: not any(reference() for reference in seen))
            assert count(Session) == others

    def count(kind: type) -> int:
        return sum(type(item) is kind for item in gc.get_objects())

    gc.collect()
    gc.disable()
    others = count(Session)  # that other tests left alive
    try:
        run_clean(main)
    finally:
        gc.enable()
    assert len(seen) == 2
