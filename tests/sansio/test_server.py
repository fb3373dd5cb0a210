"""A server without I/O: what it answers to requests, and what it is afterwards."""

from __future__ import annotations

import asyncio
import gc
import importlib
import logging
import re
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.raw import TEXT, encode_frame
from trunkline.asyncio.client import connect
from trunkline.asyncio.server import serve
from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidMessage, InvalidState, InvalidStatus, NegotiationError
from trunkline.extensions import Extension, ServerExtensionFactory
from trunkline.frames import Frame, Opcode
from trunkline.http11 import Request, Response
from trunkline.sansio.protocol import SEND_EOF, State
from trunkline.sansio.server import ServerConnection, ServerProtocol
from trunkline.typing import ExtensionName, ExtensionParameter, Origin, Subprotocol

REQUEST = (
    b"GET /chat?a=b HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
END = b"\r\n"


def request(*headers: bytes) -> bytes:
    return REQUEST + b"".join(header + END for header in headers) + END


def received(protocol: Any, data: bytes) -> Any:
    """The request that a protocol found in `data`."""
    protocol.receive_data(data)
    [event] = protocol.events_received()
    return event


def opened(data: bytes = request(), **options: Any) -> ServerProtocol:
    protocol = ServerProtocol(**options)
    protocol.send_response(protocol.accept(received(protocol, data)))
    return protocol


def test_request_and_response() -> None:
    protocol = ServerProtocol()
    event = received(protocol, request(b"Origin: https://example.com"))
    assert isinstance(event, Request)
    assert event.path == "/chat?a=b"
    response = protocol.accept(event)
    assert response.status_code == 101
    assert protocol.origin == "https://example.com"
    assert protocol.state is State.CONNECTING
    response.headers["X-Extra"] = "1"
    protocol.send_response(response)
    assert protocol.state is State.OPEN
    [data] = protocol.data_to_send()
    assert data.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert data.endswith(b"X-Extra: 1\r\n\r\n")
    assert not protocol.close_expected()


@pytest.mark.parametrize("split", [1, 50, len(request()), len(request()) + 1])
def test_frames_before_the_response(split: int) -> None:
    protocol = ServerProtocol()
    data = request() + encode_frame(TEXT, b"early")
    protocol.receive_data(data[:split])
    protocol.receive_data(data[split:])
    [event] = protocol.events_received()
    assert isinstance(event, Request)
    protocol.send_response(protocol.accept(event))
    protocol.receive_data(encode_frame(TEXT, b"late"))
    assert protocol.events_received() == [Frame(Opcode.TEXT, b"early"), Frame(Opcode.TEXT, b"late")]


@pytest.mark.parametrize(
    ("start", "path"),
    [
        (b"GET ws://example.com/chat?a=b HTTP/1.1", "/chat?a=b"),
        (b"GET /chat?a=b HTTP/1.2", "/chat?a=b"),
        (END + b"GET /chat?a=b HTTP/1.1", "/chat?a=b"),
    ],
)
def test_requests_that_servers_must_understand(start: bytes, path: str) -> None:
    protocol = ServerProtocol()
    event = received(protocol, request().replace(b"GET /chat?a=b HTTP/1.1", start))
    assert event.path == path
    assert protocol.accept(event).status_code == 101


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_an_answer_to_head_has_no_body(method: str) -> None:
    """RFC 9110 section 9.3.2, also where the program reads the request itself."""
    for read in (True, False):
        protocol = ServerProtocol()
        if read:
            event = received(protocol, f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        else:
            event = Request("/", Headers(Host="localhost"), method)
        protocol.send_response(protocol.accept(event))
        data = b"".join(protocol.data_to_send())
        assert data.endswith(b"\r\n\r\n") == (method == "HEAD")


def test_what_can_not_be_sent_is_not_sent() -> None:
    protocol = ServerProtocol()
    received(protocol, request())
    wrong: list[Any] = [("body", "text"), ("status_code", 20), ("reason_phrase", "\r\n")]
    for name, value in wrong:
        response = protocol.reject(404, "")
        setattr(response, name, value)
        with pytest.raises((TypeError, ValueError)):
            protocol.send_response(response)
        assert protocol.data_to_send() == []
    protocol.send_response(Response(200, "OK", {"A": "b"}))  # type: ignore[arg-type]
    assert protocol.data_to_send() == [b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n", SEND_EOF]


def test_reject() -> None:
    protocol = ServerProtocol()
    received(protocol, request())
    protocol.send_response(protocol.reject(403, "no\n"))
    head, eof = protocol.data_to_send()
    assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert head.endswith(b"\r\n\r\nno\n")
    assert eof == SEND_EOF
    assert protocol.close_expected()
    protocol.receive_data(b"whatever follows")
    assert protocol.events_received() == []
    protocol.receive_eof()
    assert protocol.state is State.CLOSED
    assert not protocol.close_expected()
    assert protocol.parser_exc is None  # the peer did nothing wrong
    assert protocol.close_exc.__cause__ is None


@pytest.mark.parametrize(
    "data",
    [
        request().replace(b"websocket", b"h2c", 1),
        request().replace(b"GET", b"POST", 1),
        request().replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        request(b"Origin: https://evil.example"),
        request(b"Sec-WebSocket-Protocol: unknown"),
        request().replace(b"GET", b"POST", 1).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
        request().replace(b"dGhl", b"dGh", 1),
        request().replace(b"Sec-WebSocket", b"X"),  # neither key nor version
    ],
)
def test_refusal_is_that_of_websockets(data: bytes) -> None:
    answers = []
    for library in ("trunkline", "websockets"):
        module = importlib.import_module(f"{library}.server")
        protocol = module.ServerProtocol(origins=[None, re.compile("https://good.*")], subprotocols=["chat"])
        response = protocol.accept(received(protocol, data))
        protocol.send_response(response)
        answers.append((
            response.status_code,
            type(protocol.handshake_exc).__name__,
            str(protocol.handshake_exc),
            response.body.split(b"\n")[0],
            protocol.data_to_send()[-1],
            protocol.close_expected(),
        ))  # fmt: skip
    ours, theirs = answers
    assert ours == theirs


LOGGED = {
    "accepted": (request(), {}),
    "origin": (request(b"Origin: https://evil.example"), {"origins": ["https://good.example"]}),
    "method": (request().replace(b"GET", b"POST", 1), {}),
    "protocol": (request().replace(b"HTTP/1.1", b"HTTP/1.0", 1), {}),
    "upgrade": (request().replace(b"websocket", b"h2c", 1), {}),
    "key": (request().replace(b"dGhl", b"dGh", 1), {}),
    "subprotocol": (request(), {"subprotocols": ["chat"]}),
}


@pytest.mark.parametrize("name", LOGGED)
def test_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    data, options = LOGGED[name]
    caplog.set_level(logging.DEBUG)
    logs = []
    for library in ("trunkline", "websockets"):
        caplog.clear()
        protocol = importlib.import_module(f"{library}.server").ServerProtocol(**options)
        response = protocol.accept(received(protocol, data))
        for header in ("Date", "Content-Length", "Sec-WebSocket-Version"):
            response.headers.pop(header, None)
        response.body = b""
        protocol.send_response(response)
        protocol.data_to_send()
        logs.append([(record.name, record.levelname, record.getMessage()) for record in caplog.records])
    ours, theirs = logs
    assert ours == theirs


@pytest.mark.parametrize("data", [b"GET /\r\n", b"GET /" + b"a" * 9000, b"GET / HTTP/1.1\r\nA: " + b"a" * 9000])
def test_log_of_what_is_no_request(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    faults = []
    for library in ("trunkline", "websockets"):
        caplog.clear()
        importlib.import_module(f"{library}.server").ServerProtocol().receive_data(data)
        faults += [message for message in caplog.messages if message.startswith("!")]
    ours, theirs = faults
    assert ours == theirs


@pytest.mark.parametrize("accept", [False, True])
def test_log_of_an_answer_that_is_no_fault_of_the_request(accept: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for library in ("trunkline", "websockets"):
        protocol = importlib.import_module(f"{library}.server").ServerProtocol()
        event = received(protocol, request())
        if accept:
            protocol.accept(event)
        protocol.send_response(protocol.reject(404, ""))
    assert caplog.messages == [f"{'connection rejected' if accept else 'HTTP response sent'} (404 Not Found)"] * 2


def test_the_answer_says_what_is_wrong() -> None:
    protocol = ServerProtocol()
    protocol.receive_data(b"EHLO example.com\r\n")
    assert str(protocol.handshake_exc) == "did not receive a valid HTTP request"
    head, _ = protocol.data_to_send()
    assert head.endswith(b"did not receive a valid HTTP request; invalid HTTP request line: EHLO example.com.\n")


def test_what_it_was_given() -> None:
    origins, subprotocols = [Origin("https://example.com")], [Subprotocol("a")]
    protocol = ServerProtocol(origins=origins, subprotocols=subprotocols, extensions=[])
    assert protocol.origins == origins
    assert protocol.available_subprotocols == subprotocols
    assert protocol.available_extensions == []


def test_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="ServerConnection was renamed to ServerProtocol"):
        protocol = ServerConnection()
    assert isinstance(protocol, ServerProtocol)


def test_bytes_that_are_no_request() -> None:
    protocol = ServerProtocol()
    protocol.receive_data(b"\x16\x03\x01 hello, TLS here\n")
    assert isinstance(protocol.handshake_exc, InvalidMessage)
    head, eof = protocol.data_to_send()
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert eof == SEND_EOF


@pytest.mark.parametrize("data", [b"", b"GET / HT"])
def test_end_of_stream_inside_the_request(data: bytes) -> None:
    protocol = ServerProtocol()
    protocol.receive_data(data)
    protocol.receive_eof()
    assert isinstance(protocol.handshake_exc, InvalidMessage)
    assert isinstance(protocol.handshake_exc.__cause__, EOFError)
    assert protocol.data_to_send() == [SEND_EOF]
    assert protocol.state is State.CLOSED


def test_answer_twice() -> None:
    protocol = opened()
    with pytest.raises(InvalidState, match="connection is open"):
        protocol.send_response(protocol.reject(500, ""))


def test_refuse_twice() -> None:
    protocol = ServerProtocol()
    protocol.send_response(protocol.reject(403, ""))
    with pytest.raises(InvalidState, match="the request is answered already"):
        protocol.send_response(protocol.reject(500, ""))


@pytest.mark.parametrize("accepted", [False, True])
def test_answer_to_a_client_that_is_gone(accepted: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Programs answer when they are ready, and can't know that the client has gone."""
    protocol = ServerProtocol()
    event = received(protocol, request())
    protocol.receive_eof()
    assert protocol.data_to_send() == [SEND_EOF]
    with caplog.at_level(logging.INFO):
        protocol.send_response(protocol.accept(event) if accepted else protocol.reject(403, ""))
    assert protocol.data_to_send() == []
    assert protocol.state is State.CLOSED
    assert not caplog.records


OFFER = b"Sec-WebSocket-Protocol: a, b"


def test_subprotocol() -> None:
    assert opened(request(OFFER), subprotocols=["b", "a"]).subprotocol == "b"


def test_select_subprotocol() -> None:
    asked: list[Any] = []

    def last(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol:
        asked.append(protocol)
        return offered[-1]

    protocol = opened(request(OFFER), select_subprotocol=last)
    assert protocol.subprotocol == "b"
    assert asked == [protocol]


def test_override_select_subprotocol() -> None:
    class Picky(ServerProtocol):
        def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
            raise NegotiationError(f"none of {subprotocols}")

    protocol = Picky()
    assert protocol.accept(received(protocol, request(OFFER))).status_code == 400
    assert str(protocol.handshake_exc) == "none of ['a', 'b']"


def test_fault_of_the_program(caplog: pytest.LogCaptureFixture) -> None:
    def broken(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        raise RuntimeError("broken")

    protocol = ServerProtocol(select_subprotocol=broken)
    assert protocol.accept(received(protocol, request(OFFER))).status_code == 500
    assert isinstance(protocol.handshake_exc, RuntimeError)
    assert caplog.messages == ["opening handshake failed"]


class Rot1(Extension):
    """Adds one to each byte."""

    name = ExtensionName("x-rot1")

    def encode(self, frame: Frame) -> Frame:
        return Frame(frame.opcode, bytes(byte + 1 for byte in bytes(frame.data)), frame.fin)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        return Frame(frame.opcode, bytes(byte - 1 for byte in bytes(frame.data)), frame.fin)


class Rot1Factory(ServerExtensionFactory):
    name = Rot1.name

    def process_request_params(
        self, params: Sequence[ExtensionParameter], accepted_extensions: Sequence[Extension]
    ) -> tuple[list[ExtensionParameter], Extension]:
        return [], Rot1()


@pytest.mark.parametrize("state", [State.CONNECTING, State.OPEN])
def test_extensions(state: State) -> None:
    source = ServerProtocol()
    event = received(source, request(b"Sec-WebSocket-Extensions: x-rot1"))
    # Sanic writes the response itself, and so creates an open protocol before it knows the extensions.
    protocol = ServerProtocol(extensions=[Rot1Factory()], state=state)
    response = protocol.accept(event)
    if state is State.CONNECTING:
        protocol.send_response(response)
        protocol.data_to_send()
    assert [type(extension) for extension in protocol.extensions] == [Rot1]
    protocol.receive_data(encode_frame(TEXT, b"bcd"))
    assert protocol.events_received() == [Frame(Opcode.TEXT, b"abc")]
    protocol.send_text(b"abc")
    assert protocol.data_to_send() == [b"\x81\x03bcd"]


def test_origins() -> None:
    protocol = ServerProtocol(origins=[Origin("https://example.com")])
    assert protocol.accept(received(protocol, request())).status_code == 403


def test_protocol_of_a_connection_that_moves_its_bytes_itself() -> None:
    def guard(connection: Any, request: Request) -> Response | None:
        return connection.protocol.reject(404, "no such room") if request.path == "/no" else None

    async def tell(connection: Any) -> None:
        await connection.send(f"{connection.protocol.origin}")

    async def scenario() -> None:
        async with serve(tell, "localhost", 0, process_request=guard) as server:
            uri = f"ws://localhost:{server.sockets[0].getsockname()[1]}"
            async with connect(f"{uri}/", origin=Origin("https://a.example")) as client:
                assert await client.recv() == client.protocol.origin == "https://a.example"
            with pytest.raises(InvalidStatus) as refused:
                await connect(f"{uri}/no")
            assert refused.value.response.body == b"no such room"

    asyncio.run(scenario())


def test_goes_without_the_garbage_collector() -> None:
    protocol = opened()
    reference = weakref.ref(protocol)
    gc.disable()
    try:
        del protocol
        assert reference() is None
    finally:
        gc.enable()
