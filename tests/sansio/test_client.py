"""A client without I/O, talking to servers of both libraries."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from trunkline.exceptions import InvalidHeaderValue, InvalidMessage, InvalidStatus
from trunkline.frames import Frame, Opcode
from trunkline.http11 import Response
from trunkline.sansio.client import ClientConnection, ClientProtocol
from trunkline.sansio.protocol import SEND_EOF, State
from trunkline.typing import Origin, Subprotocol
from trunkline.uri import parse_uri

URI = parse_uri("ws://user:secret@localhost:8080/chat?a=b")


def connecting(**options: Any) -> ClientProtocol:
    """A client that has sent its request."""
    protocol = ClientProtocol(URI, **options)
    protocol.send_request(protocol.connect())
    protocol.data_to_send()
    return protocol


@pytest.mark.parametrize("library", ["trunkline", "websockets"])
def test_talk_to_a_server(library: str) -> None:
    server = importlib.import_module(f"{library}.server").ServerProtocol(subprotocols=["b"])
    client = ClientProtocol(URI, subprotocols=["a", "b"], origin="https://example.com")  # type: ignore[list-item, arg-type]
    request = client.connect()
    request.headers["User-Agent"] = "test"
    client.send_request(request)
    server.receive_data(b"".join(client.data_to_send()))
    [request] = server.events_received()
    assert request.path == "/chat?a=b"
    assert request.headers["Authorization"].startswith("Basic ")
    assert request.headers["User-Agent"] == "test"
    server.send_response(server.accept(request))
    server.send_text(b"hi")
    client.receive_data(b"".join(server.data_to_send()))
    response, frame = client.events_received()
    assert isinstance(response, Response)
    assert frame == Frame(Opcode.TEXT, b"hi")
    assert client.state is State.OPEN
    assert client.subprotocol == "b"
    assert server.origin == "https://example.com"
    client.send_close(1000)
    server.receive_data(b"".join(client.data_to_send()))
    client.receive_data(b"".join(server.data_to_send()))
    assert client.close_expected()
    client.receive_eof()
    assert str(client.close_exc) == "sent 1000 (OK); then received 1000 (OK)"


def test_refusal() -> None:
    client = connecting()
    client.receive_data(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    [response] = client.events_received()
    assert isinstance(response, Response)
    assert response.body == b"no"
    assert isinstance(client.handshake_exc, InvalidStatus)
    assert client.data_to_send() == [SEND_EOF]
    assert client.close_expected()
    client.receive_eof()
    assert client.state is State.CLOSED
    assert client.parser_exc is None  # the peer did nothing wrong
    assert client.close_exc.__cause__ is None


def test_origin() -> None:
    client = ClientProtocol(URI, origin=Origin("https://a.example"))
    assert client.origin == client.connect().headers["Origin"] == "https://a.example"


def test_refusal_whose_body_ends_with_the_stream() -> None:
    client = connecting()
    client.receive_data(b"HTTP/1.1 500 Internal Server Error\r\n\r\noops")
    assert client.events_received() == []
    client.receive_eof()
    [response] = client.events_received()
    assert isinstance(response, Response)
    assert response.body == b"oops"
    assert isinstance(client.handshake_exc, InvalidStatus)


def test_wrong_accept() -> None:
    client = connecting()
    client.receive_data(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n"
    )
    assert isinstance(client.handshake_exc, InvalidHeaderValue)
    assert client.state is State.CONNECTING
    client.receive_data(b"\x81\x01a")
    assert [type(event) for event in client.events_received()] == [Response]


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi", b"SSH-2.0-server\r\n\r\n"])
def test_no_response(data: bytes) -> None:
    client = connecting()
    client.receive_data(data)
    client.receive_eof()
    assert isinstance(client.handshake_exc, InvalidMessage)
    assert client.events_received() == []
    assert client.data_to_send() == [SEND_EOF]


# Bytes that are no response, in the order in which the parser looks at their faults
NO_RESPONSES = [
    b"SSH-2.0-server\r\n\r\n",
    b"220 mail.example ESMTP\r\n",
    b"HTTP/2.0 101 Yes\r\n",
    b"HTTP/1.1 one Yes\r\n",
    b"HTTP/1.1 099 Yes\r\n",
    b"HTTP/1.1 101 Yes\r\nno colon\r\n\r\n",
    b"HTTP/1.1 101 Yes\r\nna me: a\r\n\r\n",
    b"HTTP/1.1 403 No\r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 403 No\r\nContent-Length: 99999999\r\n\r\n",
    b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    b"HTTP/1.1 101 Yes\r\n" + b"A: b\r\n" * 129 + b"\r\n",
]


@pytest.mark.parametrize("eof", [False, True])
@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi", b"HTTP/1.1 101 Yes\r\nA: b\r\nC", *NO_RESPONSES])
def test_what_is_wrong_is_said_as_websockets_says_it(data: bytes, eof: bool) -> None:
    faults = []
    for library in ("trunkline", "websockets"):
        uri = importlib.import_module(f"{library}.uri").parse_uri("ws://localhost/")
        client = importlib.import_module(f"{library}.client").ClientProtocol(uri)
        client.send_request(client.connect())
        client.receive_data(data)
        if eof:
            client.receive_eof()
        faults.append([(type(fault).__name__, str(fault)) for fault in causes(client.handshake_exc)])
    ours, theirs = faults
    assert ours[:1] == theirs[:1]
    if b"chunked" not in data:  # httptools has words of its own
        assert ours == theirs


def causes(fault: BaseException | None) -> list[BaseException]:
    """A fault, what caused it, and so on."""
    return [] if fault is None else [fault, *causes(fault.__cause__)]


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (b"A: red\x1b[31m", r"invalid HTTP header value: red\x1b"),
        (b"A" * 1000, "invalid HTTP header line: " + 174 * "A"),
    ],
)
def test_what_is_wrong_can_be_shown_on_a_terminal(header: bytes, text: str) -> None:
    client = connecting()
    client.receive_data(b"HTTP/1.1 101 Yes\r\n" + header + b"\r\n\r\n")
    _, cause = causes(client.handshake_exc)
    assert str(cause) == text


def test_what_it_was_given() -> None:
    client = ClientProtocol(URI, subprotocols=[Subprotocol("a")], extensions=[])
    assert (client.available_subprotocols, client.available_extensions) == (["a"], [])
    assert client.connect().headers["Sec-WebSocket-Key"] == client.key


def test_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="ClientConnection was renamed to ClientProtocol"):
        client = ClientConnection(URI)
    assert isinstance(client, ClientProtocol)


def test_open_from_the_start() -> None:
    client = ClientProtocol(URI, state=State.OPEN)
    client.receive_data(b"\x81\x01a")
    assert client.events_received() == [Frame(Opcode.TEXT, b"a")]
