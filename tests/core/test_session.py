"""One connection after its handshake: closing, faults, pings, deadlines, extensions (RFC 6455 sections 5.5, 7, 9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.wire import (
    BODIES,
    FAULTS,
    MIB,
    cut,
    drain,
    opened,
    parse,
    payload_of,
    peer_frame,
    sent,
    splits,
    streams,
)
from tests.support.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawFrame, close_frame, encode_frame
from trunkline.core.session import Session, Side, State
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import (
    ConnectionClosedError,
    ConnectionClosedOK,
    PayloadTooBig,
    ProtocolError,
    TooManyFragments,
)
from trunkline.extensions.base import Extension
from trunkline.frames import Close, Frame

SIDES = [pytest.param(Side.SERVER, id="server"), pytest.param(Side.CLIENT, id="client")]
both_sides = pytest.mark.parametrize("side", SIDES)


def receive(session: Session, opcode: int, payload: bytes = b"", now: float = 0.0, **fields: Any) -> None:
    session.receive_data(peer_frame(session, opcode, payload, **fields), now)


def close_payload(code: int, reason: str = "") -> bytes:
    return code.to_bytes(2, "big") + reason.encode()


# State


def test_a_session_opens_with_the_handshake() -> None:
    session = Session(Side.CLIENT)
    assert session.state is State.CONNECTING
    session.open(0.0)
    assert session.state is State.OPEN
    assert session.side is Side.CLIENT
    assert Session(Side.SERVER).side is Side.SERVER
    assert (session.close_code, session.close_reason) == (None, None)


@both_sides
def test_messages_are_nothing_special(side: Side) -> None:
    session = opened(side)
    receive(session, TEXT, b"a")
    receive(session, BINARY, b"b")
    assert not session.attention
    assert sent(session) == []
    assert drain(session.inbox) == ["a", b"b"]
    receive(session, PONG)
    assert session.attention


@both_sides
def test_size_of_what_must_leave(side: Side) -> None:
    session = opened(side)
    for payload in ("é", b"abc", b"a" * 20_000):
        session.send(BINARY, payload)
    assert session.outgoing_size == sum(map(len, session.outgoing)) > 20_000
    assert [frame.payload for frame in sent(session)] == ["é".encode(), b"abc", b"a" * 20_000]
    assert session.outgoing_size == 0
    assert session.outgoing == []


# Faults


@pytest.mark.parametrize(("data", "code", "reason"), [pytest.param(*row[1:], id=row[0]) for row in FAULTS])
def test_a_fault_becomes_a_close_code(data: bytes, code: int, reason: str) -> None:
    session = opened(max_message=MIB)
    session.receive_data(data + encode_frame(TEXT, b"ignored"), 5.0)
    messages = drain(session.inbox)
    session.settle(5.0)
    assert session.close_sent == Close(code, reason)
    assert sent(session) == [RawFrame(CLOSE, close_payload(code, reason))]
    assert session.state is State.CLOSING
    assert session.eof_wanted
    assert session.attention
    assert isinstance(session.failure, ProtocolError | PayloadTooBig | TooManyFragments | UnicodeDecodeError)
    assert "ignored" not in messages
    session.receive_eof(6.0)
    error = session.close_exception()
    assert isinstance(error, ConnectionClosedError)
    assert error.__cause__ is session.failure
    assert session.close_code == 1006  # RFC 6455 section 7.1.5: it is the code received


@both_sides
def test_who_ends_the_stream_after_a_fault(side: Side) -> None:
    """Section 7.1.1: the server does, first."""
    session = opened(side)
    receive(session, 3)
    assert session.eof_wanted == (side is Side.SERVER)
    receive(session, TEXT, b"ignored")
    assert drain(session.inbox) == []
    session.receive_eof(0.0)
    assert session.eof_wanted


def test_a_fault_while_closing_sends_nothing_more() -> None:
    session = opened(close_timeout=10)
    session.close(1000, "", 0.0)
    session.take_outgoing()
    receive(session, 3)
    assert sent(session) == []
    assert session.close_sent == Close(1000, "")
    assert session.eof_wanted
    assert isinstance(session.failure, ProtocolError)


def test_a_wrong_byte_of_text_is_answered_before_the_message_ends() -> None:
    """Autobahn 6.4.3 and 6.4.4: with frames and with octets that never come."""
    frame = encode_frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xf4\x90\x80\x80" + b"a" * 100)
    for places in ([], range(len(frame))):
        session = opened()
        for piece in cut(frame[:-100], places):
            session.receive_data(piece, 0.0)
        assert session.close_sent is not None
        assert session.close_sent.code == 1007


# Messages before a fault are answered first

BROKEN = encode_frame(TEXT, b"ignored", rsv=0x40)  # as Autobahn's cases 3.2 and 4.1.3 to 5.15 go on


def echo(session: Session) -> list[Any]:
    """Answer all messages, as an application does whose driver calls `settle` when nothing is left for it."""
    answered = []
    while (message := session.inbox.take()) is not None:
        answered.append(message)
        if session.state is State.OPEN:
            session.send(TEXT if isinstance(message, str) else BINARY, message)
    session.settle(session.now)
    return answered


def test_a_fault_waits_for_the_answers_to_what_came_before_it() -> None:
    session = opened(ping_interval=20, ping_timeout=20)
    session.receive_data(encode_frame(TEXT, b"one") + encode_frame(TEXT, b"two") + BROKEN, 5.0)
    assert session.state is State.OPEN
    assert session.attention  # the driver has to look at the deadline
    assert session.deadline() == 6.0
    assert session.inbox.take() == "one"
    session.send(TEXT, "ONE")
    receive(session, TEXT, b"ignored")
    assert session.inbox.take() == "two"
    assert session.state is State.OPEN  # it may still answer the second
    session.send(TEXT, "TWO")
    assert session.inbox.take() is None
    session.settle(5.5)
    assert sent(session) == [
        RawFrame(TEXT, b"ONE"),
        RawFrame(TEXT, b"TWO"),
        RawFrame(CLOSE, close_payload(1002, "reserved bits must be 0")),
    ]
    assert session.state is State.CLOSING
    session.settle(5.6)
    assert sent(session) == []


def test_a_fault_waits_for_an_application_that_is_busy_with_the_last_message() -> None:
    session = opened()
    receive(session, TEXT, b"one")
    assert session.inbox.take() == "one"
    session.receive_data(BROKEN, 5.0)
    assert session.state is State.OPEN
    assert session.deadline() == 6.0


@pytest.mark.parametrize("asked", [False, True])
def test_a_fault_that_nothing_came_before_waits_for_nobody(asked: bool) -> None:
    session = opened()
    if asked:
        receive(session, TEXT, b"one")
        assert echo(session) == ["one"]
        session.take_outgoing()
    session.receive_data(BROKEN, 5.0)
    assert session.state is State.CLOSING
    assert [frame.opcode for frame in sent(session)] == [CLOSE]


@pytest.mark.parametrize(("close_timeout", "due"), [(None, 6.0), (10, 6.0), (0.25, 5.25)])
def test_a_fault_does_not_wait_for_ever(close_timeout: float | None, due: float) -> None:
    session = opened(close_timeout=close_timeout)
    session.receive_data(encode_frame(TEXT, b"one") + BROKEN, 5.0)
    assert session.deadline() == due
    session.on_deadline(due - 0.01)
    assert session.state is State.OPEN
    session.on_deadline(due)
    assert [frame.payload[:2] for frame in sent(session)] == [close_payload(1002)]
    assert session.deadline() == (None if close_timeout is None else due + close_timeout)
    assert session.inbox.take() == "one"


def end_close(session: Session) -> None:
    session.close(1000, "", 5.0)


def end_fail(session: Session) -> None:
    session.fail(1011, "", 5.0, RuntimeError())


def end_cut(session: Session) -> None:
    session.cut(5.0)


def end_stream(session: Session) -> None:
    session.receive_eof(5.0)


@pytest.mark.parametrize("end", [end_close, end_fail, end_cut, end_stream])
def test_whatever_ends_the_connection_tells_of_the_pending_fault(end: Any) -> None:
    session = opened()
    session.receive_data(encode_frame(TEXT, b"one") + BROKEN, 5.0)
    end(session)
    assert [frame.payload[:2] for frame in sent(session)] == [close_payload(1002)]
    assert session.state is (State.CLOSED if end is end_stream else State.CLOSING)
    assert isinstance(session.close_exception().__cause__, ProtocolError)
    assert session.deadline() is None


@given(
    st.data(),
    st.lists(st.text(max_size=20) | st.binary(max_size=20), max_size=5),
    st.sampled_from([data for _, data, _, _ in FAULTS if len(data) < 1000]),
)
def test_every_message_before_a_fault_is_answered_however_it_arrives(
    data: st.DataObject, messages: list[str | bytes], fault: bytes
) -> None:
    alone, session = opened(max_message=MIB), opened(max_message=MIB)
    alone.receive_data(fault, 1.0)
    expected = messages + echo(alone)  # some faults are seen only behind a whole message
    stream = b"".join(
        encode_frame(TEXT, message.encode()) if isinstance(message, str) else encode_frame(BINARY, message)
        for message in messages
    )
    answered: list[Any] = []
    for piece in data.draw(splits(stream + fault)):
        session.receive_data(piece, 1.0)
        if data.draw(st.booleans()):
            answered += echo(session)
    answered += echo(session)
    assert answered == expected
    *echoes, close = sent(session)
    assert [frame.payload.decode() if frame.opcode == TEXT else frame.payload for frame in echoes] == expected
    assert close.opcode == CLOSE
    assert session.close_sent == Close(int.from_bytes(close.payload[:2], "big"), close.payload[2:].decode())


# The closing handshake: the rows of the table in session.py


@both_sides
@pytest.mark.parametrize(
    ("code", "reason", "payload"),
    [
        (1000, "", close_payload(1000)),
        (1001, "é" * 61, close_payload(1001, "é" * 61)),
        (3000, "x", close_payload(3000, "x")),
        (4999, "x" * 123, close_payload(4999, "x" * 123)),
        (None, "", b""),
    ],
)
def test_open_close(side: Side, code: int | None, reason: str, payload: bytes) -> None:
    session = opened(side)
    session.close(code, reason, 0.0)
    assert session.state is State.CLOSING
    assert sent(session) == [RawFrame(CLOSE, payload)]
    assert session.close_sent == Close(1005 if code is None else code, reason)
    assert not session.eof_wanted
    assert session.attention
    session.close(1001, "again", 0.0)
    session.fail(1011, "again", 0.0)
    assert sent(session) == []


@both_sides
@pytest.mark.parametrize(
    ("payload", "close"),
    [
        (b"", Close(1005, "")),
        (close_payload(1000), Close(1000, "")),
        (close_payload(1001, "é"), Close(1001, "é")),
        *((close_payload(code), Close(code, "")) for code in [1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999]),
        (close_payload(1000, "x" * 123), Close(1000, "x" * 123)),
    ],
)
def test_open_close_frame_received(side: Side, payload: bytes, close: Close) -> None:
    session = opened(side)
    stream = peer_frame(session, TEXT, b"a") + peer_frame(session, CLOSE, payload) + peer_frame(session, TEXT, b"b")
    session.receive_data(stream, 0.0)
    assert session.state is State.CLOSING
    assert sent(session) == [RawFrame(CLOSE, payload)]  # section 5.5.1: the same, back
    assert session.close_rcvd == session.close_sent == close
    assert session.close_rcvd_then_sent is True
    assert session.eof_wanted == (side is Side.SERVER)
    assert session.attention
    assert drain(session.inbox) == ["a"]  # what follows a close frame is ignored


@both_sides
def test_open_fail(side: Side) -> None:
    session = opened(side)
    cause = RuntimeError("why")
    session.fail(1011, "é" * 70, 0.0, cause)
    assert session.state is State.CLOSING
    assert sent(session) == [RawFrame(CLOSE, close_payload(1011, "é" * 61))]  # section 5.5: at most 123 bytes
    assert session.eof_wanted == (side is Side.SERVER)
    receive(session, TEXT, b"ignored")
    assert drain(session.inbox) == []
    session.receive_eof(0.0)
    assert session.close_exception().__cause__ is cause


@both_sides
def test_failing_with_a_code_that_may_not_be_sent_changes_nothing(side: Side) -> None:
    session = opened(side)
    with pytest.raises(ProtocolError, match="invalid status code"):
        session.fail(1005, "", 0.0)
    assert session.state is State.OPEN
    assert session.close_sent is None
    assert not session.eof_wanted
    receive(session, TEXT, b"a")
    assert drain(session.inbox) == ["a"]


@both_sides
def test_open_end_of_stream(side: Side) -> None:
    session = opened(side, ping_interval=5, close_timeout=5)
    session.receive_eof(0.0)
    assert session.state is State.CLOSED
    assert sent(session) == []
    assert session.eof_wanted
    assert session.attention
    assert session.eof_received
    assert session.deadline() is None
    assert (session.close_code, session.close_reason) == (1006, "")
    error = session.close_exception()
    assert isinstance(error, ConnectionClosedError)
    assert str(error) == "no close frame received or sent"
    assert isinstance(error.__cause__, EOFError)
    receive(session, TEXT, b"ignored")
    assert drain(session.inbox) == []


@both_sides
def test_closing_close_frame_received(side: Side) -> None:
    session = opened(side)
    session.close(1000, "bye", 0.0)
    session.take_outgoing()
    receive(session, TEXT, b"on its way")
    receive(session, CLOSE, close_payload(1000, "so long"))
    assert session.state is State.CLOSING
    assert sent(session) == []
    assert session.eof_wanted == (side is Side.SERVER)
    assert session.close_rcvd_then_sent is False
    assert drain(session.inbox) == ["on its way"]
    session.receive_eof(0.0)
    assert (session.close_code, session.close_reason) == (1000, "so long")
    error = session.close_exception()
    assert isinstance(error, ConnectionClosedOK)
    assert str(error) == "sent 1000 (OK) bye; then received 1000 (OK) so long"
    assert error.__cause__ is None


@both_sides
def test_closing_end_of_stream(side: Side) -> None:
    session = opened(side, close_timeout=10)
    session.close(1000, "", 0.0)
    session.take_outgoing()
    session.receive_eof(1.0)
    assert session.state is State.CLOSED
    assert session.eof_wanted
    assert sent(session) == []
    assert session.deadline() is None
    error = session.close_exception()
    assert isinstance(error, ConnectionClosedError)
    assert str(error) == "sent 1000 (OK); no close frame received"


@both_sides
def test_closing_close_timeout(side: Side) -> None:
    session = opened(side, close_timeout=10)
    session.close(1000, "", 5.0)
    session.attention = False
    assert session.deadline() == 15.0
    session.on_deadline(14.9)
    assert not session.expired
    assert not session.attention
    session.on_deadline(15.0)
    assert session.expired
    assert session.attention
    assert session.state is State.CLOSING  # until the driver has dropped the connection
    session.receive_eof(15.0)
    assert isinstance(session.close_exception().__cause__, TimeoutError)


@both_sides
def test_close_timeout_runs_from_any_beginning_of_the_closing_handshake(side: Side) -> None:
    session = opened(side, close_timeout=10)
    receive(session, CLOSE, now=3.0)
    assert session.deadline() == 13.0
    session = opened(side, close_timeout=10)
    receive(session, 3, now=4.0)
    assert session.deadline() == 14.0
    session = opened(side, close_timeout=10)
    session.fail(1011, "", 5.0)
    assert session.deadline() == 15.0


def test_closing_ends_with_a_timer_that_is_early() -> None:
    session = opened(close_timeout=10)
    session.close(1000, "", 5.0)
    session.on_deadline(14.75, due=15.0)
    assert session.expired


def test_without_close_timeout_there_is_no_deadline() -> None:
    session = opened()
    session.close(1000, "", 0.0)
    assert session.deadline() is None
    session.on_deadline(1e9)
    assert not session.expired


@pytest.mark.parametrize(
    ("rcvd", "sent_code", "normal"),
    [
        (1000, 1000, True),
        (1001, 1001, True),
        (1000, 1001, True),
        (1000, 1011, False),
        (1011, 1000, False),
        (3000, 3000, False),
    ],
)
def test_normal_ends(rcvd: int, sent_code: int, normal: bool) -> None:
    session = opened()
    session.close(sent_code, "", 0.0)
    receive(session, CLOSE, close_payload(rcvd))
    session.receive_eof(0.0)
    assert isinstance(session.close_exception(), ConnectionClosedOK if normal else ConnectionClosedError)


@pytest.mark.parametrize(
    ("code", "reason"),
    [(999, ""), (1004, ""), (1005, ""), (1006, ""), (1015, ""), (2999, ""), (5000, ""), (1000, "x" * 124)],
)
def test_close_frames_that_may_not_be_sent_leave_the_connection_open(code: int, reason: str) -> None:
    session = opened()
    with pytest.raises(ProtocolError):
        session.close(code, reason, 0.0)
    assert session.state is State.OPEN
    assert sent(session) == []


def test_close_does_nothing_unless_open() -> None:
    session = Session(Side.CLIENT)
    session.close(1000, "", 0.0)
    assert session.state is State.CONNECTING
    session.open(0.0)
    session.receive_eof(0.0)
    session.close(1000, "", 0.0)
    assert sent(session) == []
    assert session.state is State.CLOSED


# Messages that arrive after our close frame


def test_messages_after_our_close_frame_are_kept_while_there_is_room() -> None:
    session = opened(high=2)
    for i in range(5):
        receive(session, TEXT, b"%d" % i)
    session.close(1000, "", 0.0)
    assert session.discarded == 0  # before it, none is discarded
    assert drain(session.inbox) == list("01234")
    for i in range(5):
        receive(session, TEXT, b"%d" % i)
    assert session.discarded == 2
    assert drain(session.inbox) == list("012")


def test_after_a_gap_fragments_of_different_messages_are_not_joined() -> None:
    session = opened(high=1)
    session.close(1000, "", 0.0)
    receive(session, TEXT, b"a", fin=False)
    receive(session, CONT, b"b", fin=False)
    receive(session, CONT, b"c")  # discarded
    assert session.inbox.take() is None
    receive(session, TEXT, b"d", fin=False)
    receive(session, CONT, b"e")
    assert session.inbox.take() is None
    assert session.discarded == 3


# Pings


@both_sides
def test_a_ping_is_answered_with_its_payload(side: Side) -> None:
    session = opened(side)
    receive(session, PING, b"")
    receive(session, PING, payload_of(125))
    assert session.attention
    assert sent(session) == [RawFrame(PONG, b""), RawFrame(PONG, payload_of(125))]


def test_a_ping_is_answered_until_the_peer_closes() -> None:
    """Section 5.5.2: "unless it already received a Close frame"."""
    session = opened()
    session.close(1000, "", 0.0)
    session.take_outgoing()
    receive(session, PING, b"x")
    assert sent(session) == [RawFrame(PONG, b"x")]
    receive(session, CLOSE, close_payload(1000))
    receive(session, PING, b"y")
    assert sent(session) == []


def test_only_the_latest_ping_is_answered_when_answers_pile_up() -> None:
    session = opened()
    session.set_backlogged(True)
    for i in range(1000):
        receive(session, PING, b"%d" % i)
    assert session.outgoing_size == 0
    session.set_backlogged(False)
    assert sent(session) == [RawFrame(PONG, b"999")]
    session.set_backlogged(False)
    assert sent(session) == []


@pytest.mark.parametrize("closed_by_peer", [False, True])
def test_a_ping_may_be_answered_after_the_backlog_while_the_peer_does_not_close(closed_by_peer: bool) -> None:
    session = opened()
    session.set_backlogged(True)
    receive(session, PING, b"x")
    if closed_by_peer:
        receive(session, CLOSE, close_payload(1000))
    else:
        session.close(1000, "", 0.0)
    session.take_outgoing()
    session.set_backlogged(False)
    assert sent(session) == ([] if closed_by_peer else [RawFrame(PONG, b"x")])


@both_sides
def test_a_pong_acknowledges_the_pings_before_it_too(side: Side) -> None:
    session = opened(side)
    for i, now in enumerate([1.0, 2.0, 3.0]):
        session.ping(b"%d" % i, f"token {i}", now)
    assert sent(session) == [RawFrame(PING, b"0"), RawFrame(PING, b"1"), RawFrame(PING, b"2")]
    receive(session, PONG, b"1", now=5.0)
    assert session.acknowledged == [("token 0", 4.0), ("token 1", 3.0)]
    assert session.latency == 3.0
    assert list(session.pings) == [b"2"]
    receive(session, PONG, b"0", now=6.0)  # too late to mean anything
    assert len(session.acknowledged) == 2


def test_unsolicited_pongs_are_ignored() -> None:
    session = opened()
    session.ping(b"x", "token", 0.0)
    session.take_outgoing()
    receive(session, PONG, b"")
    receive(session, PONG, b"y")
    assert session.acknowledged == []
    assert session.latency == 0.0
    assert sent(session) == []
    assert session.state is State.OPEN


def test_two_pings_with_the_same_payload_can_not_be_told_apart() -> None:
    session = opened()
    session.ping(b"x", "first", 0.0)
    with pytest.raises(ValueError, match="already waiting for a pong with the same data"):
        session.ping(b"x", "second", 0.0)
    receive(session, PONG, b"x")
    session.ping(b"x", "second", 0.0)


def test_payloads_of_pings_are_drawn_afresh() -> None:
    session = opened()
    for i in range(100):
        session.ping(None, i, 0.0)
    payloads = [frame.payload for frame in sent(session)]
    assert len(set(payloads)) == 100
    assert set(map(len, payloads)) == {4}


def test_pongs_count_after_our_close_frame() -> None:
    session = opened()
    session.ping(b"x", "token", 0.0)
    session.close(1000, "", 0.0)
    receive(session, PONG, b"x", now=2.0)
    assert session.acknowledged == [("token", 2.0)]


# Keepalive


def keepalive_ping(session: Session) -> bytes:
    (frame,) = sent(session)
    assert frame.opcode == PING
    return frame.payload


@both_sides
def test_keepalive(side: Side) -> None:
    session = opened(side, now=100.0, ping_interval=20, ping_timeout=30)
    assert session.deadline() == 120.0
    session.on_deadline(119.9)
    assert sent(session) == []
    session.on_deadline(120.5)
    payload = keepalive_ping(session)
    assert session.deadline() == 150.5
    receive(session, PONG, payload, now=121.0)
    assert session.latency == 0.5
    assert session.acknowledged == []  # it was not asked for
    assert session.deadline() == 140.5


def test_a_keepalive_ping_that_leaves_early_is_timed_from_then() -> None:
    session = opened(ping_interval=20, ping_timeout=30)
    session.on_deadline(19.75, due=20.0)
    payload = keepalive_ping(session)
    assert session.deadline() == 49.75
    receive(session, PONG, payload, now=19.875)
    assert session.latency == 0.125


def test_a_pong_that_takes_longer_than_the_interval_is_followed_by_a_ping() -> None:
    session = opened(ping_interval=5, ping_timeout=20)
    session.on_deadline(5.0)
    receive(session, PONG, keepalive_ping(session), now=17.0)
    assert session.deadline() == 17.0
    session.on_deadline(17.0)
    keepalive_ping(session)


def test_the_pong_of_a_later_ping_answers_the_keepalive() -> None:
    session = opened(ping_interval=20, ping_timeout=20)
    session.on_deadline(20.0)
    session.take_outgoing()
    session.ping(b"mine", "token", 25.0)
    receive(session, PONG, b"mine", now=26.0)
    assert session.acknowledged == [("token", 1.0)]
    assert session.deadline() == 40.0


@both_sides
def test_a_missing_pong_fails_the_connection(side: Side) -> None:
    session = opened(side, ping_interval=20, ping_timeout=20, close_timeout=10)
    session.on_deadline(20.0)
    session.take_outgoing()
    receive(session, TEXT, b"a message is no pong", now=39.0)
    session.on_deadline(39.9)
    assert session.state is State.OPEN
    session.on_deadline(40.0)
    assert session.state is State.CLOSING
    assert sent(session) == [RawFrame(CLOSE, close_payload(1011, "keepalive ping timeout"))]
    assert isinstance(session.failure, TimeoutError)
    assert session.attention
    assert session.deadline() == 50.0


def test_a_pong_behind_messages_that_we_leave_unread_is_not_missing() -> None:
    session = opened(ping_interval=20, ping_timeout=20)
    session.on_deadline(20.0)
    session.take_outgoing()
    session.inbox.paused = True
    for now in (40.0, 60.0, 80.0):
        assert session.deadline() == now
        session.on_deadline(now)
        assert session.state is State.OPEN
    session.inbox.paused = False
    session.on_deadline(100.0)
    assert session.state is State.CLOSING


def test_without_ping_timeout_pings_only_measure() -> None:
    session = opened(ping_interval=20)
    for now in (20.0, 40.0, 60.0):
        assert session.deadline() == now
        session.on_deadline(now)
    payloads = [frame.payload for frame in sent(session)]
    assert len(set(payloads)) == 3
    receive(session, PONG, payloads[-1], now=61.0)
    assert session.latency == 1.0
    assert session.deadline() == 80.0


def test_without_ping_interval_there_is_no_deadline() -> None:
    session = opened(ping_timeout=20)
    assert session.deadline() is None
    session.on_deadline(1e9)
    assert sent(session) == []


def test_closing_ends_the_keepalive() -> None:
    session = opened(ping_interval=20, ping_timeout=20)
    session.on_deadline(20.0)
    session.close(1000, "", 21.0)
    assert session.deadline() is None


# Extensions and trace


class Reverse(Extension):
    """Turns payloads round and says so in RSV2."""

    def __init__(self, name: str = "reverse", log: list[str] | None = None) -> None:
        self.name = name  # type: ignore[assignment]
        self.log = [] if log is None else log
        self.max_sizes: list[int | None] = []

    def encode(self, frame: Frame) -> Frame:
        self.log.append(f"{self.name} encodes")
        return Frame(frame.opcode, bytes(frame.data)[::-1], frame.fin, frame.rsv1, True, frame.rsv3)

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        self.log.append(f"{self.name} decodes")
        self.max_sizes.append(max_size)
        if not frame.rsv2:
            return frame
        return Frame(frame.opcode, bytes(frame.data)[::-1], frame.fin, frame.rsv1, False, frame.rsv3)


class Swell(Extension):
    """Doubles what it decodes, as a decompression bomb would, within its limit."""

    def encode(self, frame: Frame) -> Frame:
        return frame

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if max_size is not None and 2 * len(frame.data) > max_size:
            raise PayloadTooBig(None, max_size)
        return Frame(frame.opcode, bytes(frame.data) * 2, frame.fin)


def extended(side: Side, *extensions: Extension, **options: Any) -> Session:
    session = Session(side, **options)
    session.open(0.0, extensions)
    return session


@both_sides
def test_an_extension_changes_frames_in_both_directions(side: Side) -> None:
    session = extended(side, Reverse())
    session.send(TEXT, "abc")
    session.send(BINARY, b"de", False)
    session.send(CONT, b"fg")
    session.send_prepared(PreparedMessage("hi"))
    assert sent(session) == [
        RawFrame(TEXT, b"cba", rsv=0x20),
        RawFrame(BINARY, b"ed", False, 0x20),
        RawFrame(CONT, b"gf", rsv=0x20),
        RawFrame(TEXT, b"ih", rsv=0x20),
    ]
    receive(session, TEXT, b"cba", rsv=0x20)
    receive(session, BINARY, b"plain")
    receive(session, TEXT, "aé".encode()[::-1], rsv=0x20)  # wire bytes need not be UTF-8
    receive(session, TEXT, "é".encode()[:1], rsv=0x20, fin=False)
    receive(session, CONT, "é".encode()[1:], rsv=0x20)
    assert [session.inbox.take() for _ in range(5)] == ["abc", b"plain", "aé", "é", None]


def test_reserved_bits_that_no_extension_knows_are_refused() -> None:
    for bit in (0x40, 0x10):
        session = extended(Side.SERVER, Reverse())
        receive(session, TEXT, b"abc", rsv=bit)
        assert session.close_sent == Close(1002, "reserved bits must be 0")


def test_text_is_checked_as_it_is_after_decoding() -> None:
    session = extended(Side.SERVER, Reverse())
    receive(session, TEXT, b"\xa9\xc3", rsv=0x20)  # "é" the wrong way round
    assert session.inbox.take() == "é"
    assert session.inbox.take() is None
    receive(session, TEXT, "é".encode(), rsv=0x20)
    assert session.close_sent == Close(1007, "invalid start byte at position 0")


def test_the_last_extension_is_the_nearest_to_the_wire() -> None:
    log: list[str] = []
    session = extended(Side.SERVER, Reverse("first", log), Reverse("second", log))
    session.send(TEXT, "abc")
    receive(session, TEXT, b"abc")
    assert log == ["first encodes", "second encodes", "second decodes", "first decodes"]


def test_an_extension_is_told_what_is_left_of_the_limits() -> None:
    extension = Reverse()
    session = extended(Side.SERVER, extension, max_message=100, max_frame=80)
    receive(session, BINARY, bytes(30), fin=False)
    receive(session, CONT, bytes(30))
    receive(session, BINARY, bytes(30))
    assert extension.max_sizes == [80, 70, 80]


@pytest.mark.parametrize("fragments", [1, 2])
def test_limits_hold_for_what_is_decoded(fragments: int) -> None:
    for size, fits in ((50, True), (51, False)):
        session = extended(Side.SERVER, Swell(), max_message=100)
        for i, piece in enumerate(cut(bytes(size), [25] * (fragments - 1))):
            receive(session, CONT if i else BINARY, piece, fin=i == fragments - 1)
        assert session.inbox.take() == (bytes(100) if fits else None)
        session.settle(0.0)
        assert (session.close_sent is None) == fits
        if session.close_sent is not None:
            assert session.close_sent.code == 1009


class Trace:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, sent: bool, frame: Frame) -> None:
        self.seen.append(f"{'>' if sent else '<'} {frame}")


@pytest.mark.parametrize("extensions", [[], [Reverse()]], ids=["plain", "extended"])
@both_sides
def test_trace_shows_frames_as_the_application_means_them(side: Side, extensions: list[Extension]) -> None:
    session = Session(side)
    session.trace = trace = Trace()
    session.open(0.0, extensions)
    session.send(TEXT, "ab")
    session.send_prepared(PreparedMessage(b"\xff"))
    session.send(TEXT, b"c", False)
    session.ping(b"x", None, 0.0)
    receive(session, TEXT, b"ab")
    receive(session, BINARY, b"\xff\xfe", fin=False)
    receive(session, PING, b"y")
    receive(session, CONT, b"")
    receive(session, CLOSE, close_payload(1000))
    assert trace.seen == [
        "> TEXT 'ab' [2 bytes]",
        "> BINARY ff [1 byte]",
        "> TEXT 'c' [1 byte, continued]",
        "> PING 'x' [text, 1 byte]",
        "< TEXT 'ab' [2 bytes]",
        "< BINARY ff fe [2 bytes, continued]",
        "< PING 'y' [text, 1 byte]",
        "> PONG 'y' [text, 1 byte]",
        "< CONT '' [0 bytes]",
        "< CLOSE 1000 (OK) [2 bytes]",
        "> CLOSE 1000 (OK) [2 bytes]",
    ]


# Properties


def observed(pieces: Iterable[bytes], *, trace: bool = False, extensions: Iterable[Extension] = ()) -> Any:
    """All that a server session shows after receiving these pieces. No error is expected."""
    session = Session(Side.SERVER, max_message=2 * MIB, max_frame=MIB, close_timeout=10)
    if trace:
        session.trace = lambda sent, frame: None
    session.open(0.0, list(extensions))
    session.ping(b"known", "token", 0.0)
    for piece in pieces:
        session.receive_data(piece, 1.0)
    messages = drain(session.inbox)
    session.settle(1.0)
    return (
        messages,
        b"".join(session.take_outgoing()).replace(b"\x89\x05known", b""),
        session.state,
        session.close_rcvd,
        session.close_sent,
        session.close_rcvd_then_sent,
        type(session.failure),
        session.acknowledged,
        session.eof_wanted,
        session.attention,
        session.deadline(),
    )


ENDINGS = st.sampled_from([data for _, data, _, _ in FAULTS if len(data) < 1000]) | st.sampled_from(
    [b"", close_frame(), close_frame(None), close_frame(4000, b"bye"), encode_frame(PONG, b"known")]
)


@given(st.data(), streams(), ENDINGS, st.binary(max_size=30))
def test_any_split_shows_the_same(data: st.DataObject, stream: bytes, ending: bytes, behind: bytes) -> None:
    stream += ending + behind
    assert observed(data.draw(splits(stream))) == observed([stream])


@given(st.data(), streams())
def test_any_split_shows_the_same_of_a_stream_with_a_wrong_byte(data: st.DataObject, stream: bytes) -> None:
    broken = bytearray(stream + encode_frame(TEXT, "aé€".encode()))
    broken[data.draw(st.integers(0, len(broken) - 1))] ^= data.draw(st.integers(1, 255))
    stream = bytes(broken)
    pieces = data.draw(splits(stream))
    expected = observed([stream])
    assert observed(pieces) == expected
    assert observed(pieces, trace=True) == expected


@given(st.data(), streams(), ENDINGS)
def test_any_split_shows_the_same_with_an_extension(data: st.DataObject, stream: bytes, ending: bytes) -> None:
    stream += encode_frame(TEXT, b"abc", rsv=0x20) + ending
    assert observed(data.draw(splits(stream)), extensions=[Reverse()]) == observed([stream], extensions=[Reverse()])


@both_sides
@given(stream=st.binary(max_size=300))
def test_random_bytes_do_not_raise(side: Side, stream: bytes) -> None:
    session = opened(side, max_message=100)
    session.receive_data(stream, 0.0)
    session.receive_eof(0.0)
    session.close_exception()
    list(parse(b"".join(session.take_outgoing())))


SENDING = st.one_of(
    st.tuples(st.just(TEXT), st.text(max_size=30)),
    st.tuples(st.just(BINARY), BODIES),
    st.tuples(st.just(PING), st.binary(max_size=125)),
    st.tuples(st.just(PONG), st.binary(max_size=125)),
    st.tuples(st.just("prepared"), st.text(max_size=30) | st.binary(max_size=30)),
    st.tuples(st.just("fragments"), st.lists(st.binary(max_size=30), min_size=2, max_size=4)),
)


def do(session: Session, kind: Any, payload: Any) -> list[Any]:
    """Send something; returns what the other side should find in its inbox."""
    if kind == "prepared":
        session.send_prepared(PreparedMessage(payload))
        return [payload]
    if kind == "fragments":
        for i, fragment in enumerate(payload):
            session.send(CONT if i else BINARY, fragment, i == len(payload) - 1)
        return [(fragment, False, i == len(payload) - 1) for i, fragment in enumerate(payload)]
    session.send(kind, payload)
    return [payload] if kind in (TEXT, BINARY) else []


def exchange(data: st.DataObject, here: Session, there: Session) -> None:
    """Carry bytes in any pieces, both ways, until both are silent."""
    while stream := b"".join(here.take_outgoing()):
        for piece in data.draw(splits(stream)):
            there.receive_data(piece, 1.0)
        here, there = there, here


@both_sides
@given(data=st.data(), sendings=st.lists(SENDING, max_size=6), code=st.sampled_from([None, 1000, 1001, 4321]))
def test_what_one_session_sends_the_other_receives(
    side: Side, data: st.DataObject, sendings: list[tuple[Any, Any]], code: int | None
) -> None:
    here, there = opened(side), opened(Side(1 - side))
    expected = [result for kind, payload in sendings for result in do(here, kind, payload)]
    exchange(data, here, there)
    assert drain(there.inbox) == expected
    here.close(code, "" if code is None else "bye", 1.0)
    exchange(data, here, there)
    assert there.close_rcvd == there.close_sent == here.close_rcvd == here.close_sent
    assert here.close_sent is not None
    assert here.close_sent.code == (1005 if code is None else code)
    server = here if here.side is Side.SERVER else there
    assert server.eof_wanted
    assert here.failure is there.failure is None


@given(st.data())
def test_crossed_closes(data: st.DataObject) -> None:
    client, server = opened(Side.CLIENT), opened(Side.SERVER)
    client.close(1000, "client", 0.0)
    server.close(1001, "server", 0.0)
    exchange(data, client, server)
    exchange(data, server, client)
    for session, other in ((client, server), (server, client)):
        assert session.close_rcvd == other.close_sent
        assert session.close_rcvd_then_sent is False
        session.receive_eof(0.0)
        assert isinstance(session.close_exception(), ConnectionClosedOK)


@both_sides
def test_cut(side: Side) -> None:
    """The stream ends without a close frame, and a peer that does not end its own half is given up."""
    session = opened(side, close_timeout=10)
    session.cut(1.0)
    assert session.state is State.CLOSING
    assert session.take_outgoing() == []
    assert session.eof_wanted
    receive(session, TEXT, b"not listened to")
    assert len(session.inbox) == 0
    session.on_deadline(1.0 + 10)
    assert session.expired
    session.receive_eof(12.0)
    assert session.state is State.CLOSED
    assert session.close_code == 1006
    session.cut(13.0)
    assert session.state is State.CLOSED
