"""The part of connections that all drivers share: messages in fragments, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from trunkline.core.inbox import Fragment
from trunkline.core.session import Session, Side, State
from trunkline.endpoint.broadcast import broadcast
from trunkline.endpoint.connection import BaseConnection, control_payload
from trunkline.endpoint.fragments import FragmentDecoder, FragmentedMessage
from trunkline.exceptions import ConnectionClosedError, ProtocolError
from trunkline.extensions import Extension
from trunkline.frames import Frame
from trunkline.options import Options
from trunkline.testing.wire import parse_frames


def session() -> Session:
    made = Session(Side.SERVER)
    made.open(0.0)
    return made


def sent(made: Session) -> list[tuple[int, bytes, bool]]:
    return [frame[:3] for frame in parse_frames(b"".join(made.take_outgoing()))]


@pytest.mark.parametrize(
    ("fragments", "text", "opcode"),
    [(["a", "b"], None, 1), ([b"a", b"b"], None, 2), (["a", "b"], False, 2), ([b"a", memoryview(b"b")], True, 1)],
)
def test_fragments(fragments: list[Any], text: bool | None, opcode: int) -> None:
    made = session()
    message = FragmentedMessage(made, text, None)
    for fragment in fragments:
        message.add(fragment)
    message.finish()
    assert sent(made) == [(opcode, b"a", False), (0, b"b", False), (0, b"", True)]


def test_no_fragments() -> None:
    made = session()
    message = FragmentedMessage(made, None, None)
    message.finish()
    assert not message.abandon(ValueError(), 0.0)
    assert sent(made) == []


def test_fragments_that_end_too_early() -> None:
    made = session()
    message = FragmentedMessage(made, None, None)
    message.add("a")
    with pytest.raises(TypeError, match="of one type"):
        message.add(b"b")
    assert message.abandon(ValueError(), 0.0)
    assert made.state is State.CLOSING
    with pytest.raises(ConnectionClosedError, match="1011"):
        message.add("b")


@pytest.mark.parametrize("message", [{"a": "b"}, 1, None])
def test_what_is_no_message(message: Any) -> None:
    with pytest.raises(TypeError):
        FragmentedMessage.check(message)


@pytest.mark.parametrize(
    ("decode", "text", "expected"),
    [(None, True, ["caf", "é"]), (None, False, [b"caf\xc3", b"\xa9"]), (False, True, [b"caf\xc3", b"\xa9"])],
)
def test_decoding_fragments(decode: bool | None, text: bool, expected: list[Any]) -> None:
    decoder = FragmentDecoder(decode)
    assert decoder.convert(Fragment(b"caf\xc3", text, False)) == expected[0]
    assert not decoder.done
    assert decoder.convert(Fragment(b"\xa9", text, True)) == expected[1]
    assert decoder.done


def test_decoding_what_is_no_text() -> None:
    with pytest.raises(UnicodeDecodeError):
        FragmentDecoder(True).convert(Fragment(b"\xff", False, True))


@pytest.mark.parametrize("data", [1, None, "x" * 126])
def test_control_payload(data: Any) -> None:
    with pytest.raises((TypeError, ProtocolError)):
        control_payload(data)


def test_a_connection_before_its_handshake() -> None:
    connection = BaseConnection(Side.CLIENT, Options())
    assert (connection.state, connection.path, connection.subprotocol) == (State.CONNECTING, None, None)
    assert connection.id == connection.id
    assert repr(connection) == "<BaseConnection CONNECTING None>"
    assert not connection.put(["a"], None, None)


class Broken(BaseConnection):
    def broadcast(self, message: object) -> object:
        raise OSError("no way")


def test_broadcast_tells_why_it_failed(caplog: pytest.LogCaptureFixture) -> None:
    connection = Broken(Side.SERVER, Options())
    connection.begin(None, [], 0.0)
    broadcast([connection], "a")
    assert caplog.messages == ["skipped broadcast: failed to write message: OSError: no way"]
    with pytest.raises(ExceptionGroup, match="skipped broadcast") as caught:
        broadcast([connection], "a", raise_exceptions=True)
    (error,) = caught.value.exceptions
    assert isinstance(error, RuntimeError)
    assert (str(error), str(error.__cause__)) == ("failed to write message", "no way")


class Failing(Extension):
    """An extension with a bug."""

    name = "x-failing"

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        raise ZeroDivisionError

    def encode(self, frame: Frame) -> Frame:
        return frame


def test_an_extension_that_fails_is_logged_and_not_blamed_on_the_peer(caplog: pytest.LogCaptureFixture) -> None:
    connection = BaseConnection(Side.CLIENT)
    connection.begin(None, [Failing()], 0.0)
    connection.session.receive_data(b"\x81\x01a\x81\x01b", 1.0)
    assert sent(connection.session) == [(8, b"\x03\xf3", True)]
    assert caplog.records == []
    for _ in range(2):
        connection.end(None, 2.0)
        [record] = caplog.records
        assert (record.name, record.levelname, record.message) == ("websockets.client", "ERROR", "parser failed")
        assert isinstance(connection.close_exc.__cause__, ZeroDivisionError)
    assert "decode" in caplog.text  # where it happened
