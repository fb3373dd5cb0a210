"""Connections without I/O: what a program sees of them is what it sees of websockets, call by call."""

from __future__ import annotations

import dataclasses
import importlib
import logging
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, encode_frame
from trunkline.endpoint.connection import BaseConnection
from trunkline.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidState, ProtocolError
from trunkline.extensions.base import Extension
from trunkline.frames import Frame, Opcode
from trunkline.sansio.protocol import SEND_EOF, Protocol, Side, State

UNMASKED: dict[str, Any] = {"mask": None}


def show(protocol: Any) -> tuple[Any, ...]:
    """All that a program can see of a connection, comparable between libraries."""
    events = [str(event) if hasattr(event, "opcode") else type(event).__name__ for event in protocol.events_received()]
    return (
        protocol.state.name,
        protocol.close_expected(),
        events,
        protocol.data_to_send(),
        protocol.close_code,
        protocol.close_reason,
        type(protocol.parser_exc).__name__,
        str(protocol.parser_exc),
        str(protocol.close_exc) if protocol.state.name == "CLOSED" else None,
    )


def attempt(call: Callable[..., Any], *args: Any) -> str | None:
    """Name of what a call raises."""
    try:
        call(*args)
    except Exception as error:
        return type(error).__name__
    return None


def receive(*frames: bytes) -> Callable[[Any], Any]:
    return lambda protocol: protocol.receive_data(b"".join(frames))


def call(method: str, *args: Any) -> Callable[[Any], Any]:
    return lambda protocol: attempt(getattr(protocol, method), *args)


EOF = call("receive_eof")

# Steps of a server's end of an open connection. Both libraries must show the same after each of them.
SCENARIOS: dict[str, list[Callable[[Any], Any]]] = {
    "messages": [
        receive(encode_frame(TEXT, "héllo".encode()), encode_frame(BINARY, b"\0\xff")),
        receive(encode_frame(TEXT, b"a", fin=False), encode_frame(PING, b"p"), encode_frame(CONT, b"b")),
        receive(encode_frame(BINARY, b"", fin=False), encode_frame(CONT, b"x", fin=False), encode_frame(CONT)),
        receive(encode_frame(PONG, b"q")),
    ],
    "sending": [
        call("send_text", b"a"),
        call("send_binary", bytearray(b"b")),
        call("send_binary", memoryview(b"c")),
        call("send_text", "not bytes"),
        call("send_ping", b"d"),
        call("send_pong", b"e"),
        call("send_ping", bytes(126)),
    ],
    "sending fragments": [
        call("send_continuation", b"", True),
        call("send_text", b"a", False),
        call("send_text", b"b"),
        call("send_binary", b"b", False),
        call("send_ping", b"p"),
        call("send_continuation", b"b", False),
        call("send_continuation", b"c", True),
        call("send_continuation", b"d", True),
        call("send_binary", b"e"),
    ],
    "we close": [
        call("send_close", 1000, "bye"),
        call("send_text", b"late"),
        call("send_close", 1000),
        call("send_ping", b"p"),
        receive(encode_frame(TEXT, b"on its way")),
        receive(close_frame(1000)),
        receive(encode_frame(TEXT, b"too late")),
        EOF,
        EOF,
        call("send_text", b"late"),
    ],
    "peer closes": [receive(close_frame(1001, b"gone"), encode_frame(TEXT, b"too late")), EOF],
    "peer closes without a code": [receive(encode_frame(CLOSE)), EOF],
    "we close without a code": [call("send_close"), receive(encode_frame(CLOSE)), EOF],
    "codes that can't be sent": [call("send_close", None, "x"), call("send_close", 1006), call("send_close", 4999)],
    "several faults": [receive(b"\xff\xff"), EOF],
    "reserved bits, unmasked": [receive(b"\xf1\x00"), EOF],
    "fault": [receive(encode_frame(3)), receive(encode_frame(TEXT, b"x")), EOF],
    "close with a reason that isn't UTF-8": [receive(encode_frame(CLOSE, b"\x03\xe8\xff")), EOF],
    "too big": [receive(encode_frame(TEXT, bytes(101))), EOF],
    "fail": [call("fail", 1011, "oops"), call("fail", 1002), receive(encode_frame(TEXT, b"x")), EOF],
    "end of stream": [EOF, call("fail", 1011)],
    "end of stream inside a frame": [receive(encode_frame(TEXT, b"abc")[:-1]), EOF],
    "end of stream inside a first byte": [receive(encode_frame(TEXT, b"abc")[:1]), EOF],
    "end of stream inside a length": [receive(encode_frame(TEXT, bytes(70))[:1] + b"\xfe\x00"), EOF],
    "end of stream inside a long length": [receive(b"\x82\xff\0\0\0"), EOF],
    "end of stream inside a key": [receive(encode_frame(TEXT, b"abc", mask=b"mask")[:5]), EOF],
    "peer closes inside a message": [receive(encode_frame(TEXT, b"a", fin=False), close_frame(1000)), EOF],
    "peer answers our close inside a message": [
        call("send_close", 1000),
        receive(encode_frame(TEXT, b"a", fin=False), close_frame(1000)),
        EOF,
    ],
}


def server(library: str) -> Any:
    protocol = importlib.import_module(f"{library}.protocol")
    return protocol.Protocol(protocol.Side.SERVER, max_size=100)


@pytest.mark.parametrize("name", SCENARIOS)
def test_same_as_websockets(name: str) -> None:
    ours, theirs = server("trunkline"), server("websockets")
    assert show(ours) == show(theirs)
    for step in SCENARIOS[name]:
        assert step(ours) == step(theirs)
        assert show(ours) == show(theirs)


@pytest.mark.parametrize("name", SCENARIOS)
def test_split_of_input_does_not_matter(name: str) -> None:
    whole, bytewise = Protocol(Side.SERVER, max_size=100), Protocol(Side.SERVER, max_size=100)

    def receive_bytewise(data: bytes) -> None:
        for i in range(len(data)):
            Protocol.receive_data(bytewise, data[i : i + 1])

    bytewise.receive_data = receive_bytewise  # type: ignore[method-assign, assignment]
    for step in SCENARIOS[name]:
        step(whole)
        step(bytewise)
        assert show(whole) == show(bytewise)


def test_both_sides_talk() -> None:
    client, server = Protocol(Side.CLIENT), Protocol(Side.SERVER)
    client.send_text(b"hello")
    server.receive_data(b"".join(client.data_to_send()))
    assert server.events_received() == [Frame(Opcode.TEXT, b"hello")]
    server.send_close(1000)
    client.receive_data(b"".join(server.data_to_send()))
    server.receive_data(b"".join(client.data_to_send()))
    assert server.data_to_send() == [SEND_EOF]  # RFC 6455 section 7.1.1: the server ends the stream first
    client.receive_eof()
    assert client.data_to_send() == [SEND_EOF]
    server.receive_eof()
    assert (client.state, server.state) == (State.CLOSED, State.CLOSED)
    assert (client.close_rcvd, client.close_sent) == (server.close_sent, server.close_rcvd)


def test_text_that_is_not_utf8_fails_the_connection() -> None:
    protocol = Protocol(Side.SERVER)
    protocol.receive_data(encode_frame(TEXT, b"a") + encode_frame(TEXT, b"\xff"))
    assert protocol.events_received() == [Frame(Opcode.TEXT, b"a")]
    assert protocol.state is State.CLOSING
    assert protocol.close_sent is not None
    assert protocol.close_sent.code == 1007


def test_drop_without_close_frame() -> None:
    protocol = Protocol(Side.SERVER)
    protocol.fail(1006)
    assert protocol.data_to_send() == [SEND_EOF]
    assert protocol.close_expected()
    protocol.receive_data(encode_frame(TEXT, b"x"))
    assert protocol.events_received() == []


def test_close_exc_before_the_end() -> None:
    with pytest.raises(InvalidState, match="isn't closed yet"):
        _ = Protocol(Side.SERVER).close_exc


def of_connection() -> tuple[BaseConnection, Protocol]:
    """A connection that moves its bytes itself, and its protocol."""
    connection = BaseConnection(Side.CLIENT)
    connection.begin(None, [], 0.0)
    return connection, Protocol.of(connection)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye")])
def test_how_a_connection_ended_is_known_once_loops_over_its_messages_end(code: int, reason: str) -> None:
    connection, protocol = of_connection()
    assert (protocol.close_code, protocol.close_reason) == (None, None)
    with pytest.raises(InvalidState, match="isn't closed yet"):
        _ = protocol.close_exc
    connection.session.receive_data(close_frame(code, reason.encode(), **UNMASKED), 1.0)
    assert connection.session.ended_normally()
    assert protocol.state is State.CLOSING  # TCP isn't closed
    assert (protocol.close_code, protocol.close_reason) == (code, reason)
    assert isinstance(protocol.close_exc, ConnectionClosedOK)


def test_how_a_connection_failed_is_known_once_it_is_closed() -> None:
    connection, protocol = of_connection()
    connection.session.receive_data(close_frame(4000, b"bye", **UNMASKED), 1.0)
    assert protocol.close_code is None
    connection.end(None, 2.0)
    assert (protocol.close_code, protocol.close_reason) == (4000, "bye")
    assert isinstance(protocol.close_exc, ConnectionClosedError)


@pytest.mark.parametrize("max_size", [None, 5, (5, None), (5, 3)])
def test_limits(max_size: Any) -> None:
    protocol = Protocol(Side.CLIENT, max_size=max_size)
    message, fragment = max_size if isinstance(max_size, tuple) else (max_size, None)
    assert (protocol.max_message_size, protocol.max_fragment_size) == (message, fragment)
    protocol.receive_data(encode_frame(TEXT, b"123456", **UNMASKED))
    assert protocol.state is (State.OPEN if message is None else State.CLOSING)


@pytest.mark.parametrize("max_size", [(5, 3), (3, 5), (3, 3)])
def test_the_smaller_limit_is_named(max_size: tuple[int, int]) -> None:
    protocol = Protocol(Side.SERVER, max_size=max_size)
    protocol.receive_data(encode_frame(TEXT, b"123456"))
    assert str(protocol.parser_exc) == "frame with 6 bytes exceeds limit of 3 bytes"


@pytest.mark.parametrize("code", [999, 1005, 1015, 5000])
def test_failing_with_a_code_that_may_not_be_sent_changes_nothing(code: int) -> None:
    protocol = Protocol(Side.SERVER)
    with pytest.raises(ProtocolError):
        protocol.fail(code)
    assert protocol.close_sent is None
    protocol.receive_data(encode_frame(TEXT, b"still here"))
    assert protocol.events_received() == [Frame(Opcode.TEXT, b"still here")]


def test_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "websockets.server")
    protocol = Protocol(Side.SERVER)
    assert protocol.debug
    protocol.receive_data(encode_frame(TEXT, b"hi"))
    protocol.send_binary(b"\xff")
    protocol.receive_eof()
    protocol.data_to_send()
    assert caplog.messages == [
        "= connection is OPEN",
        "< TEXT 'hi' [2 bytes]",
        "> BINARY ff [1 byte]",
        "< EOF",
        "> EOF",
        "= connection is CLOSED",
        "connection closed",
    ]
    assert protocol.events_received() == [Frame(Opcode.TEXT, b"hi")]


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize("first", [None, "send_close", "fail"])
def test_log_of_the_end(side: Side, first: str | None, writes: bool, caplog: pytest.LogCaptureFixture) -> None:
    """It doesn't depend on whether the program writes what there is to send, or closes the transport at once."""
    caplog.set_level(logging.DEBUG)
    logs = []
    for library in ("trunkline", "websockets"):
        module = importlib.import_module(f"{library}.protocol")
        caplog.clear()
        protocol = module.Protocol(module.Side(side))
        if first is not None:
            getattr(protocol, first)(1000)
        protocol.receive_data(close_frame(1000) if side is Side.SERVER else b"\x88\x02\x03\xe8")
        if writes:
            protocol.data_to_send()
            protocol.receive_eof()
            protocol.data_to_send()
        logs.append([(record.name, record.levelname, record.getMessage()) for record in caplog.records])
    ours, theirs = logs
    assert ours == theirs


@pytest.mark.parametrize(
    "frame",
    [
        Frame(Opcode.PING, b"", fin=False),
        Frame(Opcode.PONG, bytes(126)),
        Frame(Opcode.TEXT, b"a", rsv1=True),
        Frame(Opcode.BINARY, b"a", rsv3=True),
    ],
)
def test_frames_that_may_not_be_sent(frame: Frame) -> None:
    protocol = Protocol(Side.SERVER)
    with pytest.raises(ProtocolError):
        protocol.send_frame(frame)
    assert protocol.data_to_send() == []


class Broken(Extension):
    """Can't read frames."""

    name = "x-broken"

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def encode(self, frame: Frame) -> Frame:
        return frame

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        raise self.fault


def test_a_fault_of_the_program_fails_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    fault = RuntimeError("secret")
    protocol = Protocol(Side.SERVER)
    protocol.extensions = [Broken(fault)]
    protocol.receive_data(encode_frame(TEXT, b"a"))
    assert protocol.parser_exc is fault
    assert protocol.data_to_send() == [b"\x88\x02\x03\xf3", SEND_EOF]  # 1011, and no details
    assert caplog.messages == ["parser failed"]
    protocol.receive_data(encode_frame(TEXT, b"b"))
    assert protocol.events_received() == []


def test_a_subclass_may_find_a_fault_of_the_peer() -> None:
    class Strict(Protocol):
        def recv_frame(self, frame: Frame) -> None:
            if frame.opcode is Opcode.BINARY:
                raise ProtocolError("text only")
            super().recv_frame(frame)

    protocol = Strict(Side.SERVER)
    protocol.receive_data(encode_frame(TEXT, b"a") + encode_frame(BINARY, b"b"))
    assert protocol.events_received() == [Frame(Opcode.TEXT, b"a")]
    assert str(protocol.close_sent) == "1002 (protocol error) text only"


def test_state_can_be_set() -> None:
    protocol = Protocol(Side.SERVER)
    protocol.state = State.CLOSED
    assert str(protocol.close_exc) == "no close frame received or sent"


@pytest.mark.parametrize(("side", "sent"), [(Side.SERVER, [SEND_EOF]), (Side.CLIENT, [])])
def test_failing_with_1006_sends_no_close_frame(side: Side, sent: list[bytes]) -> None:
    protocol = Protocol(side)
    protocol.fail(1006)
    assert protocol.data_to_send() == sent
    assert protocol.state is State.OPEN


def test_nothing_can_come_behind_the_end_of_the_stream() -> None:
    protocol = Protocol(Side.CLIENT)
    protocol.receive_eof()
    with pytest.raises(EOFError, match="stream ended"):
        protocol.receive_data(b"\x81\x00")


def test_a_subclass_sees_the_frames_received_and_sent() -> None:
    class Recording(Protocol):
        seen: list[Frame]

        def recv_frame(self, frame: Frame) -> None:
            self.seen.append(frame)
            super().recv_frame(frame)

        def send_frame(self, frame: Frame) -> None:
            self.seen.append(frame)
            super().send_frame(frame)

    protocol = Recording(Side.SERVER)
    protocol.seen = []
    protocol.receive_data(encode_frame(TEXT, b"a") + encode_frame(PING, b"p"))
    protocol.send_text(b"b")
    received = [Frame(Opcode.TEXT, b"a"), Frame(Opcode.PING, b"p")]
    assert protocol.seen == [*received, Frame(Opcode.TEXT, b"b")]
    assert protocol.events_received() == received
    assert protocol.data_to_send() == [b"\x8a\x01p", b"\x81\x01b"]


def test_the_order_of_the_close_frames_is_known() -> None:
    protocol = Protocol(Side.CLIENT)
    assert protocol.close_rcvd_then_sent is None
    protocol.receive_data(b"\x88\x00")
    assert protocol.close_rcvd_then_sent is True


class Reserved(Extension):
    """Marks frames with RSV2."""

    name = "x-reserved"

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        assert frame.rsv2
        return dataclasses.replace(frame, rsv2=False)

    def encode(self, frame: Frame) -> Frame:
        return dataclasses.replace(frame, rsv2=True)


def test_extensions_can_be_set() -> None:
    client, server = Protocol(Side.CLIENT), Protocol(Side.SERVER)
    client.extensions = server.extensions = [Reserved()]
    client.send_text(b"a")
    [data] = client.data_to_send()
    assert data[0] == 0xA1
    server.receive_data(data)
    assert server.events_received() == [Frame(Opcode.TEXT, b"a")]
