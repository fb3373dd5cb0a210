"""Clients for threads: what the documentation of `websockets` 17.4 says of them, and what ours adds."""

from __future__ import annotations

import contextlib
import inspect
import logging
import socket
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import websockets.sync.client
import websockets.sync.server

from tests.support.raw import header
from tests.support.threads import BlockingPeer, echo, in_thread, port_of, running, served
from trunkline.exceptions import (
    ConnectionClosed,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    NegotiationError,
    SecurityError,
)
from trunkline.extensions.permessage_deflate import PerMessageDeflate
from trunkline.sync.client import ClientConnection, connect, reconnect, unix_connect, unix_reconnect
from trunkline.sync.server import ServerConnection, basic_auth, serve, unix_serve
from trunkline.testing.tls import tls_contexts

DEFAULTS: dict[str, Any] = {
    "sock": None,
    "ssl": None,
    "server_hostname": None,
    "origin": None,
    "extensions": None,
    "subprotocols": None,
    "compression": "deflate",
    "additional_headers": None,
    "proxy": True,
    "proxy_ssl": None,
    "proxy_server_hostname": None,
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
@pytest.mark.parametrize("function", [connect, reconnect])
def test_default(function: Callable[..., Any], name: str, default: Any) -> None:
    parameter = inspect.signature(function).parameters[name]
    assert parameter.default == default
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


def test_names_are_those_of_websockets() -> None:
    for ours, theirs in ((connect, websockets.sync.client.connect), (reconnect, websockets.sync.client.reconnect)):
        missing = inspect.signature(theirs).parameters.keys() - inspect.signature(ours).parameters.keys()
        assert not missing


@pytest.mark.parametrize("function", [connect, reconnect])
def test_unknown_keyword_argument_is_named(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'extra'"):
        function("ws://localhost/", extra=1)


def test_connect_does_not_take_what_is_for_reconnecting() -> None:
    with pytest.raises(TypeError, match=r"use reconnect\(\)"):
        connect("ws://localhost/", process_exception=print)


@contextlib.contextmanager
def scripted(script: Callable[[BlockingPeer], None]) -> Iterator[str]:
    """A server that runs a script for each connection, in a thread; yields its URI."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with BlockingPeer(listener.accept()[0]) as peer, contextlib.suppress(EOFError):
                        script(peer)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def refuse(status: int, *headers: str) -> Callable[[BlockingPeer], None]:
    def script(peer: BlockingPeer) -> None:
        peer.read_head()
        peer.send("\r\n".join([f"HTTP/1.1 {status} No", *headers, "Content-Length: 0", "", ""]).encode())

    return script


# --- with, without, legacy ---


def test_context_manager() -> None:
    with served() as uri:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with connect(uri) as ws:
                assert isinstance(ws, ClientConnection)
                ws.send("tea")
                assert ws.recv() == "tea"
        assert ws.close_code == 1000
        with pytest.raises(RuntimeError, match="mine"), connect(uri) as ws:
            raise RuntimeError("mine")
        assert ws.close_code == 1011


USES: dict[str, Callable[[ClientConnection], Any]] = {
    "send": lambda ws: ws.send("x"),
    "recv": lambda ws: ws.recv(timeout=0),
    "ping": lambda ws: ws.ping(),
    "pong": lambda ws: ws.pong(),
    "close": lambda ws: ws.close(),
    "iterate": lambda ws: next(iter(ws)),
    "recv_streaming": lambda ws: next(ws.recv_streaming()),
}


@pytest.mark.parametrize("use", USES)
def test_use_without_a_context_manager_warns_once(use: str) -> None:
    def greet(ws: ServerConnection) -> None:
        ws.send("hello")
        echo(ws)

    with served(greet) as uri:
        ws = connect(uri)
        with (
            pytest.warns(DeprecationWarning, match="must be used as a context manager"),
            contextlib.suppress(TimeoutError),
        ):
            USES[use](ws)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            ws.close()


def test_legacy() -> None:
    with served() as uri, warnings.catch_warnings():
        warnings.simplefilter("error")
        ws = connect(uri, legacy=True)
        ws.send("tea")
        assert ws.recv() == "tea"
        ws.close()
        connecting = connect(uri, legacy=False)
        assert isinstance(connecting, reconnect)
        with connecting as ws:
            ws.send("tea")
        ws = connecting.connect()
        ws.close()


def test_reconnect_is_not_reentrant() -> None:
    with served() as uri:
        connecting = reconnect(uri)
        with connecting, pytest.raises(RuntimeError, match="reentrant"), connecting:
            pass


# --- the request ---


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ({}, "Origin", None),
        ({"origin": "https://example.com"}, "Origin", "https://example.com"),
        ({"additional_headers": {"X-Color": "red"}}, "X-Color", "red"),
        ({"extra_headers": [("X-Color", "red")]}, "X-Color", "red"),
        ({"user_agent_header": "test/1"}, "User-Agent", "test/1"),
        ({"user_agent_header": None}, "User-Agent", None),
        ({"subprotocols": ["chat", "superchat"]}, "Sec-WebSocket-Protocol", "chat, superchat"),
        ({"compression": None}, "Sec-WebSocket-Extensions", None),
        ({}, "Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
    ],
)
def test_request(options: dict[str, Any], name: str, expected: str | None) -> None:
    heads = []

    def script(peer: BlockingPeer) -> None:
        heads.append(peer.accept())

    with scripted(script) as uri, connect(uri, legacy=True, close_timeout=0, **options):
        pass
    value = header(heads[0], name)
    assert value == expected or (value is not None and expected is not None and value.startswith(expected))


def test_uri_credentials_become_basic_auth() -> None:
    with served(process_request=basic_auth(credentials=("user", "p@ss"))) as uri:
        with connect(uri.replace("//", "//user:p%40ss@")) as ws:
            assert ws.request.headers["Authorization"].startswith("Basic ")
        with pytest.raises(InvalidStatus, match="HTTP 401"):
            connect(uri)


def test_subprotocol() -> None:
    with served(subprotocols=["superchat"]) as uri, connect(uri, subprotocols=["chat", "superchat"]) as ws:
        assert ws.subprotocol == "superchat"


def test_compression() -> None:
    with served(compression="deflate") as uri, connect(uri) as ws:
        ws.send("tea " * 1000)
        assert ws.recv() == "tea " * 1000
        assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
        assert PerMessageDeflate.name == "permessage-deflate"


# --- errors ---


@pytest.mark.parametrize("uri", ["http://localhost", "ws://", "localhost", "ws://user@localhost"])
def test_invalid_uri(uri: str) -> None:
    with pytest.raises(InvalidURI):
        connect(uri)


@pytest.mark.parametrize(
    ("uri", "options", "error"),
    [
        ("ws://localhost", {"ssl": tls_contexts()[1]}, ValueError),
        ("ws://localhost", {"compression": "gzip"}, ValueError),
        ("ws://localhost", {"subprotocols": "chat"}, TypeError),
        ("ws://localhost", {"max_size": -1}, ValueError),
        ("ws://localhost", {"open_timeout": -1}, ValueError),
    ],
)
def test_options_that_make_no_sense(uri: str, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        connect(uri, **options)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        connect(f"ws://127.0.0.1:{port}")


@pytest.mark.parametrize(
    ("scheme", "text"),
    [("ws", "timed out while waiting for handshake response"), ("wss", "timed out during opening handshake")],
)
def test_open_timeout(scheme: str, text: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(TimeoutError, match=f"^{text}$"):
            connect(uri, open_timeout=0.1)


def test_timeout_of_the_tcp_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(address: object, *, timeout: float) -> None:
        assert 0 < timeout <= 10
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", never)
    with pytest.raises(TimeoutError, match=r"^timed out during opening handshake$"):
        connect("ws://localhost")


def test_refusal_is_invalid_status() -> None:
    with scripted(refuse(403)) as uri, pytest.raises(InvalidStatus, match="HTTP 403") as caught:
        connect(uri)
    assert caught.value.response.status_code == 403


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 101 Sw"])
def test_answer_that_is_no_response(answer: bytes) -> None:
    def script(peer: BlockingPeer) -> None:
        peer.read_head()
        peer.send(answer)

    with scripted(script) as uri, pytest.raises(InvalidMessage) as caught:
        connect(uri)
    assert isinstance(caught.value.__cause__, EOFError)


def test_server_that_resets() -> None:
    with scripted(lambda peer: None) as uri, pytest.raises(InvalidMessage, match="valid HTTP response"):
        connect(uri)


def test_handshake_that_is_wrong() -> None:
    def script(peer: BlockingPeer) -> None:
        peer.accept("Sec-WebSocket-Protocol: other")

    with scripted(script) as uri, pytest.raises(NegotiationError):
        connect(uri, subprotocols=["chat"])
    assert issubclass(NegotiationError, InvalidHandshake)


# --- where to ---


def test_socket_can_be_given() -> None:
    with served() as uri:
        port = int(uri.rstrip("/").rpartition(":")[2])
        with connect("ws://example.invalid/", sock=socket.create_connection(("localhost", port))) as ws:
            ws.send("tea")
            assert ws.recv() == "tea"


def test_host_and_port_can_be_given() -> None:
    with served() as uri:
        port = int(uri.rstrip("/").rpartition(":")[2])
        with connect("ws://example.invalid/", host="127.0.0.1", port=port, source_address=("127.0.0.1", 0)) as ws:
            assert ws.remote_address == ("127.0.0.1", port)
            assert ws.request.headers["Host"] == "example.invalid"


@pytest.mark.parametrize("path_type", [str, Path])
def test_unix_socket(tmp_path: Path, path_type: type) -> None:
    path = path_type(tmp_path / "socket")
    with running(unix_serve(echo, path)):
        with unix_connect(path) as ws:
            ws.send("tea")
            assert ws.recv() == "tea"
            assert ws.request.headers["Host"] == "localhost"
        with unix_reconnect(path, "ws://example.com/x") as ws:
            assert ws.request.path == "/x"
    with pytest.raises(ValueError, match="missing path"):
        unix_connect()


def test_tls() -> None:
    server_context, client_context = tls_contexts()
    with served(ssl=server_context) as uri:
        with connect(uri, ssl=client_context) as ws:
            ws.send("x" * 1_000_000)
            assert len(ws.recv()) == 1_000_000
        assert ws.close_code == 1000
        with pytest.raises(OSError, match="certificate verify failed"):
            connect(uri)
        with pytest.raises(OSError, match="certificate verify failed"):
            connect(uri, ssl=client_context, server_hostname="example.com")


def test_socket_tells_of_tls() -> None:
    server_context, client_context = tls_contexts()
    with served(ssl=server_context) as uri, connect(uri, ssl=client_context) as ws:
        assert ws.socket.version().startswith("TLS")
        assert ws.socket.server_hostname == "localhost"
        assert dict(ws.socket.getpeercert()["subjectAltName"])["DNS"] == "localhost"
        assert ws.socket.context is client_context
        assert ws.socket.getpeername() == ws.remote_address
        assert ws.socket.version() in repr(ws.socket)


def test_tls_socket_is_refused() -> None:
    context = tls_contexts()[1]
    sock = context.wrap_socket(socket.socket(), server_hostname="x", do_handshake_on_connect=False)
    with sock, pytest.raises(TypeError, match="SSLSocket"):
        connect("ws://localhost", sock=sock)


def test_ssl_context_is_deprecated() -> None:
    server_context, client_context = tls_contexts()
    renamed = "^ssl_context was renamed to ssl$"
    with pytest.warns(DeprecationWarning, match=renamed) as for_server:
        server = serve(echo, "localhost", 0, ssl_context=server_context)
    with running(server):
        uri = f"wss://localhost:{port_of(server)}"
        with pytest.warns(DeprecationWarning, match=renamed) as for_client:
            ws = connect(uri, ssl_context=client_context, legacy=True)
        ws.close()
        with pytest.warns(DeprecationWarning, match=renamed) as for_reconnecting:
            reconnect(uri, ssl_context=client_context)
    assert [caught[0].filename for caught in (for_server, for_client, for_reconnecting)] == [__file__] * 3


@pytest.mark.parametrize("function", [connect, reconnect])
def test_connection_class_can_be_replaced(function: Callable[..., Any]) -> None:
    class Mine(ClientConnection):
        pass

    with served() as uri, function(uri, create_connection=Mine) as ws:
        assert type(ws) is Mine


def test_logger(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("mine")
    with caplog.at_level(logging.DEBUG, "mine"), served() as uri, connect(uri, logger=logger):
        pass
    assert "= connection is OPEN" in [record.message for record in caplog.records if record.name == "mine"]


# --- redirects ---


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int) -> None:
    with served() as uri, scripted(refuse(status, f"Location: {uri}there")) as first, connect(first) as ws:
        assert ws.request.path == "/there"


def test_redirects_are_limited() -> None:
    with scripted(refuse(302, "Location: /again")) as uri, pytest.raises(SecurityError, match="more than 10 redirects"):
        connect(uri)


def test_credentials_stay_with_their_origin() -> None:
    heads = []

    def script(peer: BlockingPeer) -> None:
        heads.append(peer.accept())

    with scripted(script) as uri, scripted(refuse(302, f"Location: {uri}")) as first:
        headers = {"Authorization": "secret", "Cookie": "secret", "X-Color": "red"}
        connect(first, legacy=True, additional_headers=headers, close_timeout=0).close()
    assert header(heads[0], "X-Color") == "red"
    assert b"secret" not in heads[0]


# --- reconnecting ---


def no_delay() -> Iterator[float]:
    while True:
        yield 0.0


def test_reconnects_after_each_close() -> None:
    def once(ws: ServerConnection) -> None:
        ws.send("hello")

    with served(once) as uri:
        seen = []
        for ws in reconnect(uri):
            seen.append(ws.recv())
            with pytest.raises(ConnectionClosedOK):
                ws.recv()
            if len(seen) == 3:
                break
    assert seen == ["hello"] * 3
    assert ws.close_code == 1000


def test_reconnecting_waits_between_failures(caplog: pytest.LogCaptureFixture) -> None:
    statuses = [503, 500]

    def process_request(ws: ServerConnection, request: Any) -> Any:
        return ws.respond(statuses.pop(), "later\n") if statuses else None

    delays = []

    def reconnect_delays() -> Iterator[float]:
        for delay in no_delay():
            delays.append(delay)
            yield delay

    with caplog.at_level(logging.INFO), served(process_request=process_request) as uri:
        for ws in reconnect(uri, reconnect_delays=reconnect_delays):
            ws.send("tea")
            break
    assert len(delays) == 2
    assert "connect failed; reconnecting in 0.0 seconds: " in caplog.text


def test_reconnecting_gives_up_on_fatal_errors() -> None:
    with scripted(refuse(403)) as uri, pytest.raises(InvalidStatus, match="HTTP 403"):
        next(iter(reconnect(uri, reconnect_delays=no_delay)))


@pytest.mark.parametrize("how", ["return", "raise"])
def test_process_exception_decides(how: str) -> None:
    def process_exception(error: Exception) -> Exception | None:
        if how == "raise":
            raise LookupError("mine")
        return LookupError("mine")

    with scripted(refuse(503)) as uri, pytest.raises(LookupError, match="mine"):
        next(iter(reconnect(uri, process_exception=process_exception)))


def test_error_in_the_loop_closes_the_connection() -> None:
    with served() as uri:
        connections = iter(reconnect(uri))
        ws = next(connections)
        with pytest.raises(ZeroDivisionError):
            connections.throw(ZeroDivisionError)  # type: ignore[attr-defined]
        assert ws.close_code == 1000


# --- websockets at the other end ---


@contextlib.contextmanager
def their_server(**options: Any) -> Iterator[str]:
    def handler(ws: Any) -> None:
        for message in ws:
            ws.send(message)

    with websockets.sync.server.serve(handler, "localhost", 0, **options) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws{'s' if 'ssl' in options else ''}://localhost:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("secure", [False, True])
def test_their_server(compression: str | None, secure: bool) -> None:
    server_context, client_context = tls_contexts()
    with their_server(compression=compression, **({"ssl": server_context} if secure else {})) as uri:
        with connect(uri, compression=compression, ssl=client_context if secure else None) as ws:
            for message in ("tea", b"tea", "é" * 100_000, b"x" * 300_000):
                ws.send(message)
                assert ws.recv() == message
            ws.send(["a", "b", "c"])
            assert ws.recv() == "abc"
            assert ws.ping().wait(10)
        assert (ws.close_code, ws.close_reason) == (1000, "")


def test_their_server_shuts_down() -> None:
    with their_server() as uri:
        ws = connect(uri, legacy=True)
        receiving = in_thread(ws.recv)
    with pytest.raises(ConnectionClosed, match="1001"):
        receiving.result()
