"""The promises of `websockets` 17.4 about its asyncio client, and those that ours adds."""

from __future__ import annotations

import asyncio
import base64
import inspect
import logging
import socket
from collections.abc import Generator, Iterator
from typing import Any

import pytest

import trunkline
from tests.support.loop import run_clean, settled
from tests.support.pair import connect, echo, idle, port_of, serve
from tests.support.raw import (
    CLOSE,
    RawPeer,
    accept_handshake,
    close_frame,
    header,
    scripted_server,
    switching_protocols,
)
from trunkline.asyncio.client import ClientConnection, process_exception
from trunkline.asyncio.server import ServerConnection
from trunkline.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    InvalidHandshake,
    InvalidMessage,
    InvalidProxyStatus,
    InvalidStatus,
    InvalidURI,
    SecurityError,
)
from trunkline.http11 import Response
from trunkline.testing.tls import tls_contexts


def refuse(status: int, *headers: str) -> Any:
    """A script for a server that refuses each handshake."""

    async def script(peer: RawPeer) -> None:
        await peer.read_head()
        lines = [f"HTTP/1.1 {status} No", *headers, "Content-Length: 0", "", ""]
        await peer.send("\r\n".join(lines).encode())

    return script


def no_delay() -> Iterator[float]:
    """Delays for tests that reconnect."""
    while True:
        yield 0.0


async def head_of_request(path: str = "/", **options: Any) -> bytes:
    """The head of the request that `connect` sends."""
    heads = []

    async def script(peer: RawPeer) -> None:
        heads.append(await accept_handshake(peer))

    async with scripted_server(script) as port, connect(port, path, close_timeout=0.1, **options):
        pass
    return heads[0]


# --- signatures ---

DEFAULTS: dict[str, Any] = {
    "origin": None,
    "extensions": None,
    "subprotocols": None,
    "compression": "deflate",
    "additional_headers": None,
    "proxy": True,
    "process_exception": process_exception,
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
def test_default_of_connect(name: str, default: Any) -> None:
    parameter = inspect.signature(trunkline.connect).parameters[name]
    assert parameter.default == default
    assert parameter.kind is inspect.Parameter.KEYWORD_ONLY


def test_defaults_of_unix_connect() -> None:
    parameters = inspect.signature(trunkline.unix_connect).parameters
    assert [parameters[name].default for name in ("path", "uri")] == [None, None]


@pytest.mark.parametrize("name", ["connect", "unix_connect", "ClientConnection"])
def test_top_level_name_is_that_of_the_module(name: str) -> None:
    assert getattr(trunkline, name) is getattr(trunkline.asyncio.client, name)
    assert name in trunkline.__all__


def test_unknown_keyword_argument_is_named() -> None:
    async def main() -> None:
        async with serve() as server:
            with pytest.raises(TypeError, match="pingintervall"):
                await connect(server, pingintervall=1)

    run_clean(main)


# --- three ways to connect ---


def test_await() -> None:
    async def main() -> None:
        async with serve() as server:
            ws = await connect(server)
            assert isinstance(ws, ClientConnection)
            await ws.send("hello")
            assert await ws.recv() == "hello"
            await ws.close()

    run_clean(main)


def test_context_manager_closes_with_1000() -> None:
    async def main() -> None:
        async with serve() as server:
            async with connect(server) as ws:
                assert ws.state is trunkline.State.OPEN
            assert ws.state is trunkline.State.CLOSED
            assert ws.close_code == 1000

    run_clean(main)


def test_context_manager_closes_with_1011_after_an_error() -> None:
    async def main() -> None:
        async with serve() as server:
            with pytest.raises(ValueError, match="mine"):
                async with connect(server) as ws:
                    raise ValueError("mine")
            assert ws.close_code == 1011

    run_clean(main)


def test_connect_is_not_reentrant() -> None:
    async def main() -> None:
        async with serve() as server:
            connector = connect(server)
            async with connector:
                with pytest.raises(RuntimeError, match="reentrant"):
                    async with connector:
                        pass

    run_clean(main)


def test_connect_is_built_without_a_running_loop() -> None:
    connector = connect(1)
    assert isinstance(connector, trunkline.connect)


@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")
def test_connect_is_given_to_run_until_complete() -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        server = loop.run_until_complete(trunkline.serve(echo, "127.0.0.1", 0))
        ws = loop.run_until_complete(connect(server))
        loop.run_until_complete(ws.send("hello"))
        assert loop.run_until_complete(ws.recv()) == "hello"
        loop.run_until_complete(ws.close())
        server.close()
        loop.run_until_complete(server.wait_closed())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


# --- what is sent ---


def test_request() -> None:
    head = asyncio.run(head_of_request("/path?query=1"))
    assert head.startswith(b"GET /path?query=1 HTTP/1.1\r\n")
    assert header(head, "Upgrade") == "websocket"
    assert header(head, "Connection") == "Upgrade"
    assert header(head, "Sec-WebSocket-Version") == "13"
    assert len(base64.b64decode(header(head, "Sec-WebSocket-Key") or "", validate=True)) == 16
    assert (header(head, "Host") or "").startswith("127.0.0.1:")
    assert header(head, "User-Agent")
    assert header(head, "Origin") is None
    assert header(head, "Sec-WebSocket-Extensions") is None


def test_keys_are_fresh() -> None:
    async def main() -> set[str | None]:
        return {header(await head_of_request(), "Sec-WebSocket-Key") for _ in range(5)}

    assert len(asyncio.run(main())) == 5


@pytest.mark.parametrize(
    ("options", "name", "expected"),
    [
        ({"origin": "https://example.com"}, "Origin", "https://example.com"),
        ({"subprotocols": ["a", "b"]}, "Sec-WebSocket-Protocol", "a, b"),
        ({"additional_headers": {"X-Hello": "world"}}, "X-Hello", "world"),
        ({"additional_headers": [("X-Hello", "world")]}, "X-Hello", "world"),
        ({"additional_headers": trunkline.Headers({"X-Hello": "world"})}, "X-Hello", "world"),
        ({"extra_headers": {"X-Hello": "world"}}, "X-Hello", "world"),
        ({"additional_headers": {"Authorization": "Bearer token"}}, "Authorization", "Bearer token"),
        ({"user_agent_header": "mine"}, "User-Agent", "mine"),
        ({"user_agent_header": None}, "User-Agent", None),
        ({"additional_headers": {"X-Latin": "\xe9"}}, "X-Latin", "\xe9"),
    ],
    ids=[
        "origin",
        "subprotocols",
        "headers",
        "header list",
        "Headers",
        "extra_headers",
        "authorization",
        "user agent",
        "no user agent",
        "ISO-8859-1",
    ],
)
def test_option_becomes_header(options: dict[str, Any], name: str, expected: str | None) -> None:
    assert header(asyncio.run(head_of_request(**options)), name) == expected


def test_uri_credentials_become_basic_auth() -> None:
    heads = []

    async def script(peer: RawPeer) -> None:
        heads.append(await accept_handshake(peer))

    async def main() -> None:
        async with scripted_server(script) as port:
            uri = f"ws://us%20er:p%C3%A9%40ss@127.0.0.1:{port}/"
            async with trunkline.connect(uri, proxy=None, close_timeout=0.1):
                pass

    asyncio.run(main())
    kind, _, value = (header(heads[0], "Authorization") or "").partition(" ")
    assert kind == "Basic"
    assert base64.b64decode(value).decode() == "us er:pé@ss"
    assert "@" not in (header(heads[0], "Host") or "@")


def test_iri_is_quoted() -> None:
    head = asyncio.run(head_of_request("/café?q=ü"))
    assert head.startswith(b"GET /caf%C3%A9?q=%C3%BC HTTP/1.1\r\n")


# --- what goes wrong ---


@pytest.mark.parametrize(
    "uri", ["http://localhost/", "localhost:8765", "ws://", "ws://localhost/#fragment", "ws://user@localhost/", ""]
)
def test_invalid_uri(uri: str) -> None:
    async def main() -> None:
        with pytest.raises(InvalidURI):
            await trunkline.connect(uri, proxy=None)

    asyncio.run(main())


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await connect(port)

    run_clean(main)


def test_open_timeout() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_to_eof()

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises(TimeoutError, match="timed out during opening handshake"):
                await connect(port, open_timeout=0.1)

    run_clean(main)


def test_connecting_can_be_cancelled() -> None:
    ended = asyncio.Event()

    async def script(peer: RawPeer) -> None:
        await peer.read_to_eof()
        ended.set()

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await connect(port)
            await asyncio.wait_for(ended.wait(), 5)

    run_clean(main)


def test_refusal_is_invalid_status() -> None:
    async def main() -> None:
        async with scripted_server(refuse(418)) as port:
            with pytest.raises(InvalidStatus, match="server rejected WebSocket connection: HTTP 418") as caught:
                await connect(port)
            assert caught.value.response.status_code == 418
            assert isinstance(caught.value, InvalidHandshake)

    run_clean(main)


def test_end_of_stream_is_invalid_message() -> None:
    async def script(peer: RawPeer) -> None:
        await peer.read_head()

    async def main() -> None:
        async with scripted_server(script) as port:
            with pytest.raises(InvalidMessage, match="did not receive a valid HTTP response") as caught:
                await connect(port)
            assert isinstance(caught.value.__cause__, EOFError)

    run_clean(main)


@pytest.mark.parametrize(
    ("uri", "options"),
    [
        ("ws://localhost:1/", {"ssl": tls_contexts}),
        ("wss://localhost:1/", {"ssl": None}),
        ("ws://localhost:1/", {"compression": "brotli"}),
        ("ws://localhost:1/", {"ping_timeout": -1}),
    ],
    ids=["TLS without wss", "wss without TLS", "compression", "negative timeout"],
)
def test_contradictions_are_value_errors(uri: str, options: dict[str, Any]) -> None:
    if options.get("ssl"):
        options = {"ssl": options["ssl"]()[1]}

    async def main() -> None:
        with pytest.raises(ValueError, match=r"ssl|wss|TLS|brotli|ping_timeout"):
            await trunkline.connect(uri, proxy=None, **options)

    asyncio.run(main())


def test_subprotocols_that_are_a_string_are_a_mistake() -> None:
    async def main() -> None:
        with pytest.raises(TypeError):
            await connect(1, subprotocols="chat")

    asyncio.run(main())


# --- the connection ---


def test_connection_knows_its_request_and_response() -> None:
    async def main() -> None:
        async with serve(idle) as server, connect(server, "/path") as ws:
            assert ws.request.path == "/path"
            assert ws.response.status_code == 101
            assert ws.response.headers["Connection"] == "Upgrade"
            assert ws.remote_address[1] == port_of(server)
            assert ws.latency == 0

    run_clean(main)


class Text(str):
    __slots__ = ()


class Payload(bytes):
    __slots__ = ()


def test_subclasses_of_str_and_bytes_will_do() -> None:
    async def main() -> None:
        async with serve(server_header=Text("server")) as server:
            uri = Text(f"ws://localhost:{port_of(server)}/")
            async with trunkline.connect(uri, user_agent_header=Text("client"), origin=Text("here")) as ws:
                assert ws.request.headers["User-Agent"] == "client"
                assert ws.response.headers["Server"] == "server"
                for message in (Text("a"), Payload(b"a"), [Text("a")], [Payload(b"a")]):
                    await ws.send(message)
                    assert await ws.recv() == (message[0] if isinstance(message, list) else message)
                await (await ws.ping(Payload(b"ping")))
                await (await ws.ping(Text("text")))
                await ws.close(4000, Text("bye"))
                assert (ws.close_code, ws.close_reason) == (4000, "bye")

    run_clean(main)


def test_connection_class_can_be_replaced() -> None:
    class MyConnection(ClientConnection):
        def __init__(self, protocol: Any, **kwargs: Any) -> None:
            super().__init__(protocol, **kwargs)

    async def main() -> None:
        async with serve(idle) as server, connect(server, create_connection=MyConnection) as ws:
            assert type(ws) is MyConnection

    run_clean(main)


def test_logger(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def main(**options: Any) -> None:
        async with serve(idle, logger=logging.getLogger("other")) as server, connect(server, **options):
            pass

    asyncio.run(main())
    names = {record.name for record in caplog.records}
    assert {"websockets.client", "other"} <= names
    caplog.clear()
    asyncio.run(main(logger=logging.getLogger("mine")))
    assert "mine" in {record.name for record in caplog.records}
    assert "websockets.client" not in {record.name for record in caplog.records}


def test_socket_can_be_given() -> None:
    async def main() -> None:
        async with serve() as server:
            sock = socket.create_connection(("127.0.0.1", port_of(server)))
            async with trunkline.connect("ws://example.com/", sock=sock, proxy=None) as ws:
                assert ws.request.headers["Host"] == "example.com"
                await ws.send("hello")
                assert await ws.recv() == "hello"

    run_clean(main)


def test_host_and_port_can_be_given() -> None:
    async def main() -> None:
        async with serve() as server:
            options = {"host": "127.0.0.1", "port": port_of(server), "proxy": None}
            async with trunkline.connect("ws://example.com/", **options) as ws:
                assert ws.request.headers["Host"] == "example.com"
                await ws.send("hello")
                assert await ws.recv() == "hello"

    run_clean(main)


def test_tls() -> None:
    server_context, client_context = tls_contexts()

    async def main() -> None:
        async with trunkline.serve(echo, "localhost", 0, ssl=server_context) as server:
            options = {"ssl": client_context, "proxy": None, "host": "127.0.0.1", "server_hostname": "localhost"}
            async with trunkline.connect(f"wss://example.com:{port_of(server)}", port=port_of(server), **options) as ws:
                await ws.send("hello")
                assert await ws.recv() == "hello"

    run_clean(main)


# --- redirects ---


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirects_are_followed(status: int) -> None:
    async def main() -> None:
        async with (
            serve() as server,
            scripted_server(refuse(status, f"Location: ws://127.0.0.1:{port_of(server)}/there")) as port,
            connect(port) as ws,
        ):
            assert ws.request.path == "/there"
            assert ws.remote_address[1] == port_of(server)

    run_clean(main)


@pytest.mark.parametrize("status", [304, 305, 400])
def test_other_statuses_are_not_followed(status: int) -> None:
    async def main() -> None:
        async with scripted_server(refuse(status, "Location: /there")) as port:
            with pytest.raises(InvalidStatus):
                await connect(port)

    run_clean(main)


def test_redirects_are_limited() -> None:
    async def main() -> None:
        async with scripted_server(refuse(302, "Location: /again")) as port:
            with pytest.raises(SecurityError, match="10"):
                await connect(port)

    run_clean(main)


def test_redirect_to_http_is_refused() -> None:
    async def main() -> None:
        async with (
            serve(idle) as server,
            scripted_server(refuse(302, f"Location: http://127.0.0.1:{port_of(server)}/")) as port,
        ):
            with pytest.raises((InvalidURI, SecurityError)):
                await connect(port)

    run_clean(main)


@pytest.mark.parametrize("how", ["host", "sock"])
def test_cross_origin_redirect_of_an_explicit_address_is_refused(how: str) -> None:
    async def main() -> None:
        async with scripted_server(refuse(302, "Location: ws://elsewhere.example.com/")) as port:
            options: dict[str, Any] = (
                {"host": "127.0.0.1", "port": port}
                if how == "host"
                else {"sock": socket.create_connection(("127.0.0.1", port))}
            )
            with pytest.raises(ValueError, match="redirect"):
                await trunkline.connect("ws://example.com/", proxy=None, **options)

    run_clean(main)


# --- process_exception ---


@pytest.mark.parametrize(
    "error",
    [
        OSError("network"),
        ConnectionRefusedError(),
        TimeoutError(),
        *(
            kind(Response(status, "", trunkline.Headers()))
            for kind in (InvalidStatus, InvalidProxyStatus)
            for status in (500, 502, 503, 504)
        ),
    ],
)
def test_transient_errors(error: Exception) -> None:
    assert process_exception(error) is None


def test_end_of_stream_is_transient() -> None:
    error = InvalidMessage("no response")
    error.__cause__ = EOFError()
    assert process_exception(error) is None


@pytest.mark.parametrize(
    "error",
    [
        ValueError(),
        InvalidMessage("nonsense"),
        InvalidURI("x", "y"),
        *(InvalidStatus(Response(status, "", trunkline.Headers())) for status in (400, 401, 403, 404, 429, 501)),
        *(InvalidProxyStatus(Response(status, "", trunkline.Headers())) for status in (403, 407)),
    ],
)
def test_fatal_errors(error: Exception) -> None:
    assert process_exception(error) is error


# --- reconnecting ---


def test_reconnects_after_each_close() -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.send("hello")

    async def main() -> None:
        async with serve(handler) as server:
            seen = []
            async for ws in connect(server):
                seen += [message async for message in ws]
                if len(seen) == 3:
                    break
            assert seen == ["hello"] * 3

    run_clean(main)


@pytest.mark.parametrize("how", ["break", "return"])
def test_leaving_the_loop_closes_with_1000(how: str) -> None:
    codes = []

    async def handler(ws: ServerConnection) -> None:
        await ws.wait_closed()
        codes.append(ws.close_code)

    async def main() -> None:
        async def leave(server: Any) -> ClientConnection:
            left = None
            async for ws in connect(server):
                left = ws
                if how == "break":
                    break
                return ws
            assert left is not None
            return left

        async with serve(handler) as server:
            ws = await leave(server)
            await asyncio.wait_for(ws.wait_closed(), 5)
            await settled(lambda: bool(codes))

    asyncio.run(main())
    assert codes == [1000]


def test_error_in_the_loop_ends_it() -> None:
    async def main() -> None:
        async with serve(idle) as server:
            with pytest.raises(ValueError, match="mine"):
                await connect_and_fail(server)

    async def connect_and_fail(server: Any) -> None:
        async for _ in connect(server):
            raise ValueError("mine")

    run_clean(main)


def test_connection_is_closed_before_the_next() -> None:
    async def main() -> None:
        async with serve(idle) as server:
            previous = None
            async for ws in connect(server):
                if previous is not None:
                    assert previous.state is trunkline.State.CLOSED
                    assert previous.close_code == 1000
                    break
                previous = ws

    run_clean(main)


def test_reconnecting_waits_between_failures(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "websockets.client")
    requests = 0
    delays = []

    async def script(peer: RawPeer) -> None:
        nonlocal requests
        requests += 1
        head = await peer.read_head()
        if requests % 3:
            # RFC 9112 section 6.3, item 3: one of these headers is enough, and both are no reason to give up
            await peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        else:
            await peer.send(switching_protocols(head))
            assert (await peer.read_frame()).opcode == CLOSE
            await peer.send(close_frame(mask=None))

    def reconnect_delays() -> Generator[float]:
        for delay in (0.01, 0.02, 0.03):
            delays.append(delay)
            yield delay

    async def main() -> None:
        async with scripted_server(script) as port:
            connections = 0
            async for _ in connect(port, reconnect_delays=reconnect_delays):
                connections += 1
                if connections == 2:
                    break

    run_clean(main)
    # The delays start again after a success.
    assert delays == [0.01, 0.02, 0.01, 0.02]
    messages = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert len(messages) == 4
    assert all(message.startswith("connect failed; reconnecting in 0.0 seconds: ") for message in messages)
    assert "HTTP 503" in messages[0]


def test_reconnecting_gives_up_on_fatal_errors() -> None:
    async def main() -> None:
        async with scripted_server(refuse(403)) as port:
            with pytest.raises(InvalidStatus, match="403"):
                async for _ in connect(port, reconnect_delays=no_delay):
                    pass

    run_clean(main)


@pytest.mark.parametrize("how", ["return", "raise", "other"])
def test_process_exception_decides(how: str) -> None:
    seen = []

    def decide(error: Exception) -> Exception | None:
        seen.append(error)
        if len(seen) < 3:
            return None
        if how == "raise":
            raise error
        return error if how == "return" else KeyError("other")

    async def main() -> None:
        async with scripted_server(refuse(403)) as port:
            with pytest.raises(KeyError if how == "other" else InvalidStatus):
                async for _ in connect(port, process_exception=decide, reconnect_delays=no_delay):
                    pass

    run_clean(main)
    assert len(seen) == 3


def test_exception_of_process_exception_tells_its_cause() -> None:
    def decide(error: Exception) -> Exception | None:
        raise KeyError("other")

    async def main() -> None:
        async with scripted_server(refuse(403)) as port:
            with pytest.raises(KeyError) as caught:
                async for _ in connect(port, process_exception=decide):
                    pass
            assert isinstance(caught.value.__cause__, InvalidStatus)

    run_clean(main)


def test_reconnecting_can_be_cancelled_while_it_waits() -> None:
    def forever() -> Generator[float]:
        while True:
            yield 1000.0

    async def main() -> None:
        async with scripted_server(refuse(503)) as port:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reconnect(port), 0.2)

    async def reconnect(port: int) -> None:
        async for _ in connect(port, reconnect_delays=forever):
            pass

    run_clean(main)


def test_backoff() -> None:
    from trunkline.asyncio.client import backoff

    delays = backoff()
    first, *rest = [next(delays) for _ in range(12)]
    assert 0 <= first <= 5
    assert rest[0] == pytest.approx(3.1)
    assert rest[1] == pytest.approx(3.1 * 1.618)
    assert rest[-1] == pytest.approx(90)
    assert all(delay <= 90 for delay in rest)


# --- proxies ---


@pytest.fixture
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ws_proxy", "wss_proxy", "socks_proxy", "http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("_clean_environment")
def test_no_proxy_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    async def main() -> None:
        async with serve() as server, connect(server, proxy=True) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)


@pytest.mark.usefixtures("_clean_environment")
def test_proxy_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    async def main() -> None:
        async with serve() as server, connect(server, proxy=None) as ws:
            await ws.send("hello")
            assert await ws.recv() == "hello"

    run_clean(main)


# --- the end ---


def test_server_that_goes_away_normally() -> None:
    async def main() -> None:
        async with serve(idle) as server, connect(server) as ws:
            server.close()
            with pytest.raises(ConnectionClosedOK):
                await ws.recv()
            assert ws.close_code == 1001

    run_clean(main)


def test_server_that_breaks_off() -> None:
    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        peer.reset()

    async def main() -> None:
        async with scripted_server(script) as port, connect(port) as ws:
            with pytest.raises(ConnectionClosedError, match="no close frame received or sent"):
                await ws.recv()

    run_clean(main)
