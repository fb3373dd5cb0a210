"""Servers for threads: what the documentation of `websockets` 17.4 says of them, and what ours adds."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
import websockets.sync.server

from tests.support.listening import longest_queue, needs_tcp_info, queue_of, waiting_connections
from tests.support.raw import PING, PONG, TEXT, close_frame, encode_frame, request, status_of
from tests.support.threads import (
    PATIENCE,
    BlockingPeer,
    echo,
    eventually,
    in_thread,
    port_of,
    running,
    served,
    server_of_raw_client,
)
from trunkline.exceptions import (
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidStatus,
    NegotiationError,
    ProtocolError,
)
from trunkline.http11 import Request, Response
from trunkline.sansio.protocol import State
from trunkline.sync import server as server_module
from trunkline.sync.client import connect
from trunkline.sync.server import Server, ServerConnection, basic_auth, broadcast, serve, unix_serve
from trunkline.testing.tls import tls_contexts

DEFAULTS: dict[str, Any] = {
    "host": None,
    "port": None,
    "sock": None,
    "ssl": None,
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
    "logger": None,
    "create_connection": None,
}


@pytest.mark.parametrize(("name", "default"), DEFAULTS.items())
def test_default_of_serve(name: str, default: Any) -> None:
    assert inspect.signature(serve).parameters[name].default == default


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (Server.shutdown, {"close_connections": True, "code": 1001, "reason": ""}),
        (basic_auth, {"realm": "", "credentials": None, "check_credentials": None}),
    ],
)
def test_default_of(function: Callable[..., Any], expected: dict[str, Any]) -> None:
    parameters = inspect.signature(function).parameters
    assert {name: p.default for name, p in parameters.items() if name != "self"} == expected


def test_names_are_those_of_websockets() -> None:
    theirs = inspect.signature(websockets.sync.server.serve).parameters
    assert not theirs.keys() - inspect.signature(serve).parameters.keys()


def test_unknown_keyword_argument_is_named() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'extra'"):
        serve(echo, "localhost", 0, extra=1)


# --- handlers ---


def test_handler_with_two_parameters_gets_the_path() -> None:
    def handler(ws: ServerConnection, path: str) -> None:
        ws.send(path)

    with served(handler) as uri, connect(uri + "chat") as ws:
        assert ws.recv() == "/chat"


def test_handler_that_takes_nothing() -> None:
    with pytest.raises(TypeError, match="the handler must take a connection"):
        serve(lambda: None, "localhost", 0)


def test_handler_that_returns_closes_with_1000() -> None:
    with served(lambda ws: None) as uri, connect(uri) as ws:
        with pytest.raises(ConnectionClosedOK):
            ws.recv()
        assert ws.close_code == 1000


def test_handler_that_raises_closes_with_1011(caplog: pytest.LogCaptureFixture) -> None:
    def handler(ws: ServerConnection) -> None:
        raise ValueError("mine")

    with served(handler) as uri, connect(uri) as ws:
        error = in_thread(ws.recv)
        with pytest.raises(ConnectionClosedError, match=r"received 1011 \(internal error\)"):
            error.result()
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.message == "connection handler failed"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_peer_that_goes_away_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    ended = threading.Event()

    def handler(ws: ServerConnection) -> None:
        try:
            ws.recv()
        finally:
            ended.set()

    with served(handler) as uri:
        connect(uri, legacy=True).abort()
        assert ended.wait(PATIENCE)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_each_handler_has_one_thread() -> None:
    """And there is one thread for all connections besides."""
    release = threading.Event()

    def handler(ws: ServerConnection) -> None:
        ws.send("hello")
        ws.recv()

    with served(handler) as uri:
        connect(uri, legacy=True).close()  # the watcher runs
        eventually(lambda: not [t for t in threading.enumerate() if t.name == "trunkline handler"])
        before = threading.active_count()
        clients = [connect(uri, legacy=True) for _ in range(20)]
        assert [ws.recv() for ws in clients] == ["hello"] * 20
        assert threading.active_count() == before + 20
        release.set()
        for ws in clients:
            ws.close()


# --- Server ---


def test_attributes() -> None:
    server = serve(echo, "127.0.0.1", 0)
    assert isinstance(server.socket, socket.socket)
    assert server.fileno() == server.socket.fileno() > 0
    assert server.connections == set()
    with running(server), connect(f"ws://127.0.0.1:{port_of(server)}") as ws:
        eventually(lambda: server.connections)
        [connection] = server.connections
        assert isinstance(connection, ServerConnection)
        assert connection.server is server
        assert connection.remote_address == ws.local_address
        ws.close()
        eventually(lambda: not server.connections)
    assert server.fileno() == -1


def test_context_manager_shuts_down() -> None:
    with serve(echo, "localhost", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        ws = connect(f"ws://localhost:{port_of(server)}", legacy=True)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    with pytest.raises(ConnectionClosedOK, match=r"received 1001 \(going away\)"):
        ws.recv()


def test_context_manager_without_serve_forever() -> None:
    with serve(echo, "localhost", 0) as server:
        pass
    server.serve_forever()  # returns
    server.shutdown()


def test_shutdown_with_code_and_reason() -> None:
    server = serve(echo, "localhost", 0)
    with running(server):
        ws = connect(f"ws://localhost:{port_of(server)}", legacy=True)
        receiving = in_thread(ws.recv)
        server.shutdown(code=1012, reason="back soon")
        with pytest.raises(ConnectionClosedError, match=r"received 1012 \(service restart\) back soon"):
            receiving.result()


def test_shutdown_with_what_cannot_be_sent() -> None:
    server = serve(echo, "localhost", 0)
    with running(server), connect(f"ws://localhost:{port_of(server)}") as ws:
        with pytest.raises(ProtocolError):
            server.shutdown(code=999)
        ws.send("still there")
        assert ws.recv() == "still there"


def test_shutdown_can_leave_connections_open() -> None:
    server = serve(echo, "localhost", 0)
    with running(server), connect(f"ws://localhost:{port_of(server)}") as ws:
        ws.send("before")
        assert ws.recv() == "before"
        shutting_down = in_thread(server.shutdown, close_connections=False)
        eventually(lambda: server.fileno() == -1)
        with pytest.raises(OSError, match="refused"):
            connect(f"ws://localhost:{ws.remote_address[1]}")
        ws.send("after")
        assert ws.recv() == "after"
        assert shutting_down.running
        ws.close()
        shutting_down.result()


@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("close_connections", [True, False])
def test_shutdown_waits_for_handlers(close_connections: bool, threads: int | None) -> None:
    go_on, results = threading.Event(), []

    def handler(ws: ServerConnection) -> None:
        list(ws)
        go_on.wait()
        results.append(ws.close_code)

    server = serve(handler, "localhost", 0, threads=threads)
    with running(server), connect(f"ws://localhost:{port_of(server)}") as ws:
        eventually(lambda: server.connections)
        calls = [in_thread(server.shutdown, close_connections) for _ in range(2)]
        if not close_connections:
            ws.close(1001)
        assert ws.wait_closed(PATIENCE)
        assert all(call.running for call in calls)
        go_on.set()
        for call in calls:
            call.result()
        assert results == [1001]


def test_shutdown_again_closes_what_the_first_left_open() -> None:
    server = serve(echo, "localhost", 0)
    with running(server), connect(f"ws://localhost:{port_of(server)}") as ws:
        eventually(lambda: server.connections)
        waiting = in_thread(server.shutdown, close_connections=False)
        eventually(lambda: server.fileno() == -1)
        server.shutdown(code=1012)
        with pytest.raises(ConnectionClosedError, match="received 1012"):
            ws.recv()
        waiting.result()


@pytest.mark.parametrize("threads", [None, 1])
def test_handlers_that_shut_down_do_not_wait_for_each_other(threads: int | None) -> None:
    server: Server

    def handler(ws: ServerConnection) -> None:
        ws.recv()
        server.shutdown()

    server = serve(handler, "localhost", 0, threads=threads)
    with running(server):
        clients = [connect(f"ws://localhost:{port_of(server)}", legacy=True) for _ in range(3)]
        eventually(lambda: len(server.connections) == 3)
        for ws in clients:
            with contextlib.suppress(ConnectionClosed):
                ws.send("stop")
        for ws in clients:
            with pytest.raises(ConnectionClosedOK):
                ws.recv()


def test_shutdown_leaves_a_refused_client_to_its_thread(caplog: pytest.LogCaptureFixture) -> None:
    server = serve(echo, "127.0.0.1", 0)
    with caplog.at_level(logging.INFO), running(server), BlockingPeer.connect(port_of(server)) as peer:
        peer.send(b"no request\r\n\r\n")
        peer.read_head()
        shutting_down = in_thread(server.shutdown)
        eventually(lambda: server.fileno() == -1)
        peer.sock.close()
        shutting_down.result()
    assert not [text for text in caplog.messages if "lost" in text]


def test_shutdown_from_a_handler() -> None:
    def handler(ws: ServerConnection) -> None:
        ws.recv()
        ws.server.shutdown()

    server = serve(handler, "localhost", 0)
    with running(server), connect(f"ws://localhost:{port_of(server)}") as ws:
        ws.send("stop")
        with pytest.raises(ConnectionClosedOK, match="1001"):
            ws.recv()


def test_shutdown_during_the_opening_handshake() -> None:
    server = serve(echo, "127.0.0.1", 0)
    with running(server), BlockingPeer.connect(port_of(server)) as peer:
        peer.send(b"GET / HTTP/1.1\r\n")
        eventually(lambda: server._openings)
        server.shutdown()
        assert status_of(peer.read_to_eof()) == 503


@pytest.mark.parametrize("outcome", ["let in", "refuse", "fail"])
def test_shutdown_while_a_hook_runs(outcome: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server answers 503 once it closes, with any outcome of the hook, and before `shutdown` comes by."""
    comes_by = threading.Event()

    def process_request(ws: ServerConnection, request: Request) -> Response | None:
        in_thread(server.shutdown)
        eventually(server.is_closing)
        if outcome == "fail":
            raise RuntimeError("the server closes")
        return ws.respond(403, "no") if outcome == "refuse" else None

    def close(self: Server, connection: ServerConnection) -> None:
        comes_by.wait()

    monkeypatch.setattr(Server, "_close", close)
    server = serve(echo, "127.0.0.1", 0, process_request=process_request)
    with running(server), BlockingPeer.connect(port_of(server)) as peer:
        peer.send(request())
        assert status_of(peer.read_to_eof()) == 503
        comes_by.set()


PROGRAM = """
import signal
from trunkline.sync.server import serve

def echo(ws):
    for message in ws:
        ws.send(message)

with serve(echo, "localhost", 0) as server:
    signal.signal(signal.SIGTERM, lambda *_: server.shutdown())
    print(server.socket.getsockname()[1], flush=True)
    server.serve_forever()
print("done")
"""


def test_shutdown_from_a_signal_handler() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with connect(f"ws://localhost:{port}") as ws:
            ws.send("tea")
            assert ws.recv() == "tea"
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosedOK, match="1001"):
                ws.recv()
        assert process.stdout.read() == "done\n"
    assert process.returncode == 0


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), served() as uri:
        with connect(uri):
            pass
        port = uri.rstrip("/").rpartition(":")[2]
        eventually(lambda: "connection closed" in caplog.text)
    assert caplog.messages[0] == f"server listening on 127.0.0.1:{port}"
    expected = ["connection open", "connection closed", "server closing", "server closed"]
    assert [text.partition(":")[0] for text in caplog.messages[1:]] == expected
    assert {record.name for record in caplog.records} == {"websockets.server"}


def test_log_of_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(ws: ServerConnection, request: Request) -> Response:
        return ws.respond(403, "no")

    with caplog.at_level(logging.INFO), served(process_request=refuse) as uri:
        with pytest.raises(InvalidStatus):
            connect(uri)
        eventually(lambda: "connection closed" in caplog.text)
    assert [text.partition(":")[0] for text in caplog.messages[1:3]] == [
        "HTTP response sent (403 Forbidden)",
        "connection closed",
    ]


def test_logger_can_be_given(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), served(logger=logging.getLogger("mine")):
        pass
    assert {record.name for record in caplog.records} == {"mine"}


# --- the opening handshake ---


@contextlib.contextmanager
def server_and_peer(**options: Any) -> Iterator[BlockingPeer]:
    """A server, and a client that has said nothing yet."""
    server = serve(echo, "127.0.0.1", 0, **options)
    with running(server), BlockingPeer.connect(port_of(server)) as peer:
        yield peer


def test_open_timeout() -> None:
    with server_and_peer(open_timeout=0.05) as peer:
        assert peer.read_to_eof() == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"hello\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_requests_that_are_refused(data: bytes, status: int) -> None:
    with server_and_peer(close_timeout=0.1) as peer:
        peer.send(data)
        assert status_of(peer.read_to_eof()) == status


def test_frames_behind_the_request() -> None:
    with server_and_peer(compression=None) as peer:
        peer.send(request() + encode_frame(TEXT, b"early"))
        peer.read_head()
        assert peer.read_frame().payload == b"early"


def test_process_request() -> None:
    def process_request(ws: ServerConnection, request: Request) -> Response | None:
        return ws.respond(200, "OK\n") if request.path == "/health" else None

    with served(process_request=process_request) as uri:
        with connect(uri) as ws:
            ws.send("tea")
        with pytest.raises(InvalidStatus, match="HTTP 200") as caught:
            connect(uri + "health")
        assert caught.value.response.body == b"OK\n"


def test_process_response() -> None:
    def process_response(ws: ServerConnection, request: Request, response: Response) -> Response | None:
        response.headers["X-Color"] = "red"
        return None if request.path == "/" else Response(418, "Teapot", response.headers)

    with served(process_response=process_response) as uri:
        with connect(uri) as ws:
            assert ws.response.headers["X-Color"] == "red"
        with pytest.raises(InvalidStatus, match="HTTP 418"):
            connect(uri + "x")


@pytest.mark.parametrize("hook", ["process_request", "process_response"])
def test_hook_that_raises_is_500_and_logged(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*args: Any) -> Any:
        raise ValueError("mine")

    with served(**{hook: fail}) as uri, pytest.raises(InvalidStatus, match="HTTP 500"):
        connect(uri)
    assert f"{hook} failed" in caplog.messages


@pytest.mark.parametrize("header", ["test/1", None])
def test_server_header(header: str | None) -> None:
    with served(server_header=header, extra_headers={"X-Color": "red"}) as uri, connect(uri) as ws:
        assert ws.response.headers.get("Server") == header
        assert ws.response.headers["X-Color"] == "red"


def test_origins() -> None:
    with served(origins=["https://example.com", re.compile(r"https://.*\.example\.com")]) as uri:
        for origin in ("https://example.com", "https://a.example.com"):
            connect(uri, legacy=True, origin=origin).close()
        for wrong in ("https://example.org", None):
            with pytest.raises(InvalidStatus, match="HTTP 403"):
                connect(uri, origin=wrong)


def test_select_subprotocol() -> None:
    def select(ws: ServerConnection, offered: Any) -> Any:
        assert isinstance(ws, ServerConnection)
        if not offered:
            raise NegotiationError("none")
        return offered[-1]

    with served(select_subprotocol=select) as uri:
        with connect(uri, subprotocols=["a", "b"]) as ws:
            assert ws.subprotocol == "b"
        with pytest.raises(InvalidStatus, match="HTTP 400"):
            connect(uri)


@pytest.mark.parametrize(
    "options",
    [
        {"credentials": ("user", "pass")},
        {"credentials": [("user", "pass"), ("x", "y")]},
        {"check_credentials": lambda username, password: (username, password) == ("user", "pass")},
    ],
)
def test_basic_auth(options: dict[str, Any]) -> None:
    def handler(ws: ServerConnection) -> None:
        ws.send(ws.username)

    with served(handler, process_request=basic_auth("realm", **options)) as uri:
        with connect(uri.replace("//", "//user:pass@")) as ws:
            assert ws.recv() == "user"
        for wrong in (uri, uri.replace("//", "//user:wrong@")):
            with pytest.raises(InvalidStatus, match="HTTP 401") as caught:
                connect(wrong)
            assert caught.value.response.headers["WWW-Authenticate"] == 'Basic realm="realm", charset="UTF-8"'


@pytest.mark.parametrize(
    "options", [{}, {"credentials": ("a", "b"), "check_credentials": print}, {"credentials": ["a"]}]
)
def test_basic_auth_needs_one_way_to_check(options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        basic_auth(**options)


def test_connection_class_can_be_replaced() -> None:
    class Mine(ServerConnection):
        pass

    kinds: queue.Queue[type] = queue.Queue()
    with served(lambda ws: kinds.put(type(ws)), create_connection=Mine) as uri, connect(uri):
        assert kinds.get(timeout=PATIENCE) is Mine


# --- where ---


def test_socket_can_be_given() -> None:
    sock = socket.create_server(("127.0.0.1", 0))
    with running(serve(echo, sock=sock)) as server, connect(f"ws://127.0.0.1:{port_of(server)}") as ws:
        ws.send("tea")
        assert ws.recv() == "tea"


def test_ipv6() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    with running(serve(echo, "::1", 0)) as server, connect(f"ws://[::1]:{port_of(server)}") as ws:
        ws.send("tea")
        assert ws.recv() == "tea"


def test_address_in_use() -> None:
    with serve(echo, "127.0.0.1", 0) as server, pytest.raises(OSError, match="in use"):
        serve(echo, "127.0.0.1", port_of(server))


@needs_tcp_info
def test_queue_of_a_listening_socket_is_as_long_as_the_system_allows(tmp_path: Path) -> None:
    for options, length in (({}, longest_queue()), ({"backlog": None}, longest_queue()), ({"backlog": 7}, 7)):
        with serve(echo, "127.0.0.1", 0, **options) as server:
            assert queue_of(server.socket) == length
    with unix_serve(echo, tmp_path / "socket"):
        assert waiting_connections(str(tmp_path / "socket"), most=200) == min(200, longest_queue() + 1)


@needs_tcp_info
def test_queue_of_a_socket_that_listens_already_is_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=9) as sock, serve(echo, sock=sock) as server:
        assert queue_of(server.socket) == 9


def test_unix_socket_needs_a_path(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing path"):
        unix_serve(echo)
    with unix_serve(echo, os.fspath(tmp_path / "socket")) as server:
        assert server.socket.family == socket.AF_UNIX


def test_the_listening_socket_tells_whether_there_is_tls() -> None:
    server_context, client_context = tls_contexts()
    for context in (None, server_context):
        server = serve(echo, "localhost", 0, ssl=context)
        assert isinstance(server.socket, ssl.SSLSocket) is (context is not None)
        server.shutdown()
    listening = socket.create_server(("localhost", 0))
    server = serve(echo, sock=listening, ssl=server_context)
    with running(server), connect(f"wss://localhost:{port_of(server)}", ssl=client_context) as ws:
        ws.send("hello")
        assert ws.recv() == "hello"


def test_tls_client_that_speaks_no_tls() -> None:
    with server_and_peer(ssl=tls_contexts()[0]) as peer:
        peer.send(request())
        assert b"HTTP" not in peer.read_to_eof()


# --- broadcast ---


def test_broadcast_to_connections() -> None:
    server = serve(echo, "localhost", 0)
    with running(server):
        clients = [connect(f"ws://localhost:{port_of(server)}", legacy=True) for _ in range(5)]
        eventually(lambda: len(server.connections) == 5)
        broadcast(server.connections, "x" * 1000)
        assert [ws.recv() for ws in clients] == ["x" * 1000] * 5
        for ws in clients:
            ws.close()


def test_a_busy_handler_does_not_keep_pings_waiting() -> None:
    with server_of_raw_client(ping_interval=None) as (ws, peer):
        peer.send(encode_frame(PING, b"hello"))
        assert peer.read_frame()[:2] == (PONG, b"hello")
        peer.send(close_frame())
        assert peer.read_close() == 1000
        assert ws.state is not State.OPEN


# --- websockets at the other end ---


@pytest.mark.parametrize("compression", ["deflate", None])
def test_their_client(compression: str | None) -> None:
    server_context, client_context = tls_contexts()
    with served(ssl=server_context, compression=compression) as uri:
        with websockets.sync.client.connect(uri, ssl=client_context, compression=compression) as ws:
            for message in ("tea", b"tea", "é" * 100_000, b"x" * 300_000):
                ws.send(message)
                assert ws.recv() == message
            ws.send(["a", "b", "c"])
            assert ws.recv() == "abc"
            assert ws.ping().wait(10)
        assert ws.close_code == 1000


def test_their_client_is_told_to_go() -> None:
    server = serve(echo, "localhost", 0)
    with running(server), websockets.sync.client.connect(f"ws://localhost:{port_of(server)}") as ws:
        begun = time.monotonic()
        server.shutdown()
        with pytest.raises(websockets.ConnectionClosedOK, match="1001"):
            ws.recv()
        assert time.monotonic() - begun < PATIENCE


def test_old_name_of_the_server() -> None:
    with pytest.deprecated_call(match="^WebSocketServer was renamed to Server$"):
        assert server_module.WebSocketServer is server_module.Server
    with pytest.raises(AttributeError, match="has no attribute 'WebSocketServe'"):
        _ = server_module.WebSocketServe
