"""A connection for threads: what the documentation of `websockets` 17.4 says of it, and what ours adds."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import logging
import socket
import ssl
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, close_frame, encode_frame
from tests.support.threads import (
    client_of_raw_server,
    eventually,
    in_thread,
    served,
    server_of_raw_client,
)
from trunkline import PreparedMessage
from trunkline.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    PayloadTooBig,
    ProtocolError,
)
from trunkline.json import InvalidJSON
from trunkline.sansio.protocol import State
from trunkline.sansio.server import ServerProtocol
from trunkline.sync.client import ClientConnection, connect
from trunkline.sync.connection import Connection, broadcast
from trunkline.sync.server import ServerConnection
from trunkline.sync.stream import Deadline, SocketStream, TLSStream, push_all, read_some
from trunkline.testing.tls import tls_contexts


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame from a server."""
    return encode_frame(opcode, payload, fin=fin, mask=None)


SIGNATURES: dict[str, dict[str, Any]] = {
    "recv": {"timeout": None, "decode": None},
    "recv_streaming": {"decode": None},
    "send": {"message": inspect.Parameter.empty, "text": None, "compress": None},
    "close": {"code": 1000, "reason": ""},
    "wait_closed": {"timeout": None},
    "ping": {"data": None, "ack_on_close": False},
    "pong": {"data": b""},
}


@pytest.mark.parametrize(("method", "expected"), SIGNATURES.items())
def test_signature(method: str, expected: dict[str, Any]) -> None:
    parameters = inspect.signature(getattr(Connection, method)).parameters
    assert {name: p.default for name, p in parameters.items() if name != "self"} == expected


@pytest.mark.parametrize("kind", [ClientConnection, ServerConnection])
def test_both_connections_share_a_base(kind: type) -> None:
    assert issubclass(kind, Connection)


# --- recv ---


def test_recv_tells_text_from_binary() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, "café".encode()), frame(BINARY, b"\x00"))
        assert ws.recv() == "café"
        assert ws.recv() == b"\x00"


@pytest.mark.parametrize(("decode", "expected"), [(None, ["tea", b"tea"]), (True, ["tea"] * 2), (False, [b"tea"] * 2)])
def test_recv_decode(decode: bool | None, expected: list[Any]) -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"tea"), frame(BINARY, b"tea"))
        assert [ws.recv(decode=decode), ws.recv(decode=decode)] == expected


def test_recv_of_what_cannot_be_decoded() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(BINARY, b"\xff"))
        with pytest.raises(ConnectionClosedError, match=r"sent 1007 \(invalid frame payload data\)"):
            ws.recv(decode=True)
        assert peer.read_close() == 1007


def test_recv_joins_fragments() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"caf\xc3", fin=False), frame(PING), frame(CONT, b"\xa9"))
        assert ws.recv() == "café"


def test_recv_timeout() -> None:
    with client_of_raw_server() as (ws, peer):
        with pytest.raises(TimeoutError, match=r"timed out in 0\.1s"):
            ws.recv(timeout=0.1)
        peer.send(frame(TEXT, b"te", fin=False))
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0.1)
        peer.send(frame(CONT, b"a"))
        assert ws.recv(timeout=10) == "tea"


def test_recv_timeout_zero_gives_what_is_there() -> None:
    with client_of_raw_server() as (ws, peer):
        with pytest.raises(TimeoutError):
            ws.recv(timeout=0)
        peer.send(frame(TEXT, b"one"), frame(TEXT, b"two"))
        assert ws.recv() == "one"
        assert ws.recv(timeout=0) == "two"
        with pytest.raises(TimeoutError):
            ws.recv(timeout=-1)


def test_recv_returns_what_came_before_the_close() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"last words"), close_frame(mask=None))
        peer.sock.shutdown(socket.SHUT_WR)
        eventually(lambda: ws.state is State.CLOSED)
        assert ws.recv() == "last words"
        with pytest.raises(ConnectionClosedOK):
            ws.recv()


@pytest.mark.parametrize("first", ["recv", "recv_streaming", "iterate"])
@pytest.mark.parametrize("second", ["recv", "recv_streaming", "iterate"])
def test_two_receivers(first: str, second: str) -> None:
    def receive(ws: Connection, how: str) -> Any:
        return ws.recv() if how == "recv" else next(iter(ws if how == "iterate" else ws.recv_streaming()))

    with client_of_raw_server() as (ws, peer):
        receiving = in_thread(receive, ws, first)
        eventually(lambda: ws.receiving)
        with pytest.raises(ConcurrencyError, match=r"cannot call recv(_streaming)? while another thread"):
            receive(ws, second)
        peer.send(frame(TEXT, b"tea"))
        assert receiving.result() == "tea"


def test_receiving_in_turns() -> None:
    """A message for which one thread stopped waiting goes to the next thread that receives."""
    with client_of_raw_server() as (ws, peer):
        with pytest.raises(TimeoutError):
            in_thread(ws.recv, 0.01).result()
        peer.send(frame(TEXT, b"tea"))
        assert in_thread(ws.recv).result() == "tea"


# --- recv_streaming and iteration ---


def test_recv_streaming_yields_fragments_as_they_come() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"caf\xc3", fin=False))
        fragments = ws.recv_streaming()
        assert next(fragments) == "caf"
        peer.send(frame(CONT, b"\xa9", fin=False))
        assert next(fragments) == "é"
        peer.send(frame(CONT, b"!"), frame(TEXT, b"next"))
        assert list(fragments) == ["!"]
        assert list(ws.recv_streaming()) == ["next"]


@pytest.mark.parametrize(("opcode", "decode", "expected"), [(TEXT, False, b"tea"), (BINARY, True, "tea")])
def test_recv_streaming_decode(opcode: int, decode: bool, expected: Any) -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(opcode, b"tea"))
        assert list(ws.recv_streaming(decode=decode)) == [expected]


def test_recv_streaming_that_is_left() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"te", fin=False), frame(CONT, b"a"))
        fragments = ws.recv_streaming()
        next(fragments)
        fragments.close()  # type: ignore[attr-defined]
        for receive in (ws.recv, lambda: next(iter(ws)), lambda: next(ws.recv_streaming())):
            with pytest.raises(ConcurrencyError, match="close the connection"):
                receive()


def test_iteration_ends_when_the_connection_closes_normally() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"one"), frame(TEXT, b"two"), close_frame(1001, mask=None))
        assert list(ws) == ["one", "two"]


def test_iteration_raises_when_the_connection_breaks() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"one"), close_frame(1011, mask=None))
        messages = iter(ws)
        assert next(messages) == "one"
        peer.sock.close()
        with pytest.raises(ConnectionClosedError, match="received 1011"):
            next(messages)


# --- send ---


@pytest.mark.parametrize(
    ("message", "text", "expected"),
    [
        ("café", None, (TEXT, "café".encode())),
        ("café", False, (BINARY, "café".encode())),
        (b"tea", None, (BINARY, b"tea")),
        (b"tea", True, (TEXT, b"tea")),
        (bytearray(b"tea"), None, (BINARY, b"tea")),
        (memoryview(b"tea"), True, (TEXT, b"tea")),
        (PreparedMessage("tea"), None, (TEXT, b"tea")),
    ],
)
def test_send(message: Any, text: bool | None, expected: tuple[int, bytes]) -> None:
    with client_of_raw_server() as (ws, peer):
        ws.send(message, text=text)
        received = peer.read_frame()
        assert (received.opcode, received.payload) == expected
        assert received.mask is not None


def test_servers_do_not_mask() -> None:
    with server_of_raw_client() as (ws, peer):
        ws.send("tea")
        assert peer.read_frame().mask is None


@pytest.mark.parametrize(
    ("fragments", "text", "opcode"),
    [(["a", "b"], None, TEXT), ([b"a", b"b"], None, BINARY), ([b"a", bytearray(b"b")], True, TEXT), (["a"], False, 2)],
)
def test_send_fragments(fragments: list[Any], text: bool | None, opcode: int) -> None:
    with client_of_raw_server() as (ws, peer):
        ws.send(iter(fragments), text=text)
        expected = [*[(opcode, b"a", False), (CONT, b"b", False)][: len(fragments)], (CONT, b"", True)]
        assert [peer.read_frame()[:3] for _ in expected] == expected


def test_send_of_no_fragments_sends_nothing() -> None:
    with client_of_raw_server() as (ws, peer):
        ws.send([])
        ws.send("next")
        assert peer.read_frame().payload == b"next"


@pytest.mark.parametrize("fragments", [["a", b"b"], [b"a", "b"], ["a", 1]])
def test_send_of_mixed_fragments_fails_the_connection(fragments: list[Any]) -> None:
    with client_of_raw_server() as (ws, peer):
        with pytest.raises(TypeError):
            ws.send(fragments)
        assert peer.read_close() == 1011


@pytest.mark.parametrize("message", [{"a": "b"}, 1, None, object(), [1]])
def test_send_of_no_message(message: Any) -> None:
    with client_of_raw_server() as (ws, peer):
        with pytest.raises(TypeError):
            ws.send(message)
        ws.send("fine")
        assert peer.read_frame().payload == b"fine"


def test_no_message_may_come_between_fragments() -> None:
    with client_of_raw_server() as (ws, peer):
        go_on = threading.Event()

        def fragments() -> Any:
            yield "a"
            go_on.wait()
            yield "b"

        fragmented = in_thread(ws.send, fragments())
        assert peer.read_frame()[:3] == (TEXT, b"a", False)
        for other in ("other", ["other"]):
            with pytest.raises(ConcurrencyError, match="cannot call send while another thread is already running send"):
                ws.send(other)
        ws.ping(b"between")
        assert peer.read_frame()[:2] == (PING, b"between")
        go_on.set()
        assert [peer.read_frame()[:3] for _ in range(2)] == [(CONT, b"b", False), (CONT, b"", True)]
        fragmented.result()
        ws.send("other")
        assert peer.read_frame()[:3] == (1, b"other", True)


def test_send_within_its_own_fragments() -> None:
    with client_of_raw_server() as (ws, peer):

        def fragments() -> Any:
            yield "a"
            ws.send("b")

        with pytest.raises(ConcurrencyError, match="already running send"):
            ws.send(fragments())
        assert peer.read_close() == 1011


def test_close_during_a_fragmented_message() -> None:
    with client_of_raw_server() as (ws, peer):
        go_on = threading.Event()

        def fragments() -> Any:
            yield "a"
            go_on.wait()
            yield "b"

        sending = in_thread(ws.send, fragments())
        peer.read_frame()
        closing = in_thread(ws.close)
        assert peer.read_close() == 1011
        peer.send(close_frame(1011, mask=None))
        peer.sock.close()
        closing.result()
        go_on.set()
        with pytest.raises(ConnectionClosedError):
            sending.result()


def test_threads_may_send_at_once() -> None:
    with served() as uri, connect(uri, max_queue=None) as ws:
        messages = [f"{thread} {'x' * size}" for thread in range(8) for size in (1, 100, 20_000, 300_000)]
        sending = [in_thread(ws.send, message) for message in messages]
        assert sorted(ws.recv() for _ in messages) == sorted(messages)
        for call in sending:
            call.result()


def test_send_waits_for_a_peer_that_does_not_read() -> None:
    with client_of_raw_server() as (ws, peer):
        sending = in_thread(ws.send, b"x" * (1 << 24))
        eventually(lambda: ws.session.backlogged)
        assert sending.running
        assert len(peer.read_frame().payload) == 1 << 24
        sending.result()
        assert not ws.session.backlogged


def test_pings_are_answered_once_while_the_peer_does_not_read() -> None:
    with client_of_raw_server() as (ws, peer):
        sending = in_thread(ws.send, b"x" * (1 << 24))
        eventually(lambda: ws.session.backlogged)
        for number in range(100):
            peer.send(frame(PING, b"%d" % number))
        peer.send(frame(TEXT, b"end"))
        assert ws.recv() == "end"
        assert len(peer.read_frame().payload) == 1 << 24
        sending.result()
        assert peer.read_frame()[:2] == (PONG, b"99")


def test_send_to_a_peer_that_is_dropped() -> None:
    with client_of_raw_server(ping_interval=0.1, ping_timeout=0.1) as (ws, _):
        with pytest.raises(ConnectionClosedError, match="keepalive ping timeout"):
            ws.send(b"x" * (1 << 24))
        assert ws.wait_closed(10)


def test_a_server_says_why_before_it_goes() -> None:
    """The close code of the peer is known, also where a send finds that the peer has gone."""
    with client_of_raw_server() as (ws, peer):
        peer.send(close_frame(1008, b"no", mask=None))
        peer.sock.close()
        with pytest.raises(ConnectionClosed) as caught:
            ws.send(b"x" * 65536 for _ in itertools.count())
        assert caught.value.rcvd is not None
        assert caught.value.rcvd.code == 1008


# --- ping and pong ---


def test_ping_gives_an_event() -> None:
    with client_of_raw_server() as (ws, peer):
        event = ws.ping()
        assert isinstance(event, threading.Event)
        ping = peer.read_frame()
        assert ping.opcode == PING
        assert len(ping.payload) == 4
        assert not event.is_set()
        assert ws.latency == 0
        peer.send(frame(PONG, ping.payload))
        assert event.wait(10)
        assert ws.latency > 0


@pytest.mark.parametrize("data", ["café", "café".encode(), bytearray("café".encode()), memoryview("café".encode())])
def test_ping_and_pong_take_data(data: Any) -> None:
    with client_of_raw_server() as (ws, peer):
        ws.ping(data)
        ws.pong(data)
        assert [peer.read_frame()[:2] for _ in range(2)] == [(PING, "café".encode()), (PONG, "café".encode())]


@pytest.mark.parametrize("data", [1, ["a"], "x" * 126])
def test_ping_and_pong_of_no_data(data: Any) -> None:
    with client_of_raw_server() as (ws, _):
        for method in (ws.ping, ws.pong):
            with pytest.raises((TypeError, ProtocolError)):
                method(data)


def test_ping_with_the_same_data_twice() -> None:
    with client_of_raw_server() as (ws, peer):
        event = ws.ping(b"same")
        with pytest.raises(ConcurrencyError, match="already waiting for a pong with the same data"):
            ws.ping(b"same")
        peer.send(frame(PONG, b"same"))
        assert event.wait(10)
        ws.ping(b"same")


def test_pong_acknowledges_earlier_pings() -> None:
    with client_of_raw_server() as (ws, peer):
        events = [ws.ping(b"%d" % number) for number in range(3)]
        peer.send(frame(PONG, b"1"))
        assert events[1].wait(10)
        assert [event.is_set() for event in events] == [True, True, False]


def test_pings_at_the_end_of_the_connection() -> None:
    with client_of_raw_server() as (ws, peer):
        plain, acknowledged = ws.ping(), ws.ping(ack_on_close=True)
        peer.sock.close()
        assert acknowledged.wait(10)
        assert not plain.is_set()


def test_pings_are_answered_without_receiving() -> None:
    with client_of_raw_server() as (_, peer):
        peer.send(frame(PING, b"hello"))
        assert peer.read_frame()[:2] == (PONG, b"hello")


def test_a_close_frame_is_answered_without_receiving() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(close_frame(1001, mask=None))
        assert peer.read_close() == 1001
        peer.sock.close()
        assert ws.wait_closed(10)
        assert ws.close_code == 1001


# --- keepalive ---


@pytest.mark.parametrize("receiving", [False, True])
def test_keepalive(receiving: bool) -> None:
    with client_of_raw_server(ping_interval=0.05, ping_timeout=10) as (ws, peer):
        if receiving:
            waiting = in_thread(ws.recv)
        for _ in range(2):
            ping = peer.read_frame()
            assert ping.opcode == PING
            peer.send(frame(PONG, ping.payload))
        eventually(lambda: ws.latency > 0)
        if receiving:
            peer.send(frame(TEXT, b"tea"))
            assert waiting.result() == "tea"


@pytest.mark.parametrize("receiving", [False, True])
def test_keepalive_timeout(receiving: bool) -> None:
    with client_of_raw_server(ping_interval=0.05, ping_timeout=0.05) as (ws, peer):
        call = in_thread(ws.recv if receiving else ws.wait_closed)
        assert peer.read_close() == 1011
        if receiving:
            with pytest.raises(ConnectionClosedError, match=r"sent 1011 \(internal error\) keepalive ping timeout"):
                call.result()
        else:
            assert call.result()


def test_keepalive_can_be_disabled() -> None:
    with client_of_raw_server(ping_interval=None) as (ws, _):
        assert ws.session.deadline() is None


# --- closing ---


def test_close_sends_code_and_reason() -> None:
    with client_of_raw_server() as (ws, peer):
        closing = in_thread(ws.close, 3000, "bye")
        received = peer.read_frame()
        assert (received.opcode, received.payload) == (CLOSE, (3000).to_bytes(2, "big") + b"bye")
        peer.send(close_frame(3000, b"bye", mask=None))
        peer.sock.close()
        closing.result()
        ws.close()
        assert (ws.close_code, ws.close_reason) == (3000, "bye")
        assert ws.socket.fileno() == -1


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (999, ""), (1000, "x" * 124)])
def test_close_with_what_cannot_be_sent(code: int, reason: str) -> None:
    with client_of_raw_server() as (ws, _):
        with pytest.raises(ProtocolError):
            ws.close(code, reason)
        assert ws.state is State.OPEN


def test_close_waits_for_the_peer_up_to_close_timeout() -> None:
    with client_of_raw_server(close_timeout=0.1) as (ws, _):
        ws.close()
        assert ws.state is State.CLOSED
        with pytest.raises(ConnectionClosedError, match=r"sent 1000 \(OK\); no close frame received"):
            ws.recv()


@pytest.mark.parametrize("how", ["recv", "iterate", "streaming"])
def test_close_from_another_thread_wakes_recv(how: str) -> None:
    receive: dict[str, Callable[[Connection], Any]] = {
        "recv": lambda ws: ws.recv(),
        "iterate": list,
        "streaming": lambda ws: list(ws.recv_streaming()),
    }
    with served() as uri, connect(uri) as ws:
        receiving = in_thread(receive[how], ws)
        eventually(lambda: ws.receiving)
        ws.close()
        if how == "iterate":
            assert receiving.result() == []
        else:
            with pytest.raises(ConnectionClosedOK):
                receiving.result()


def test_close_from_many_threads() -> None:
    with served() as uri, connect(uri) as ws:
        for call in [in_thread(ws.close) for _ in range(5)]:
            call.result()
        assert ws.close_code == 1000


def test_close_does_not_wait_for_unread_messages() -> None:
    with client_of_raw_server(max_queue=1) as (ws, peer):
        peer.send(*[frame(TEXT, b"x" * 1000)] * 100)
        eventually(lambda: ws.session.inbox.paused)
        closing = in_thread(ws.close)
        assert peer.read_close() == 1000
        peer.send(*[frame(TEXT, b"x" * 1000)] * 100, close_frame(mask=None))
        peer.sock.close()
        closing.result()
        assert ws.close_code == 1000


def test_wait_closed() -> None:
    with client_of_raw_server() as (ws, peer):
        assert ws.wait_closed(0.01) is False
        waiting = in_thread(ws.wait_closed)
        peer.send(close_frame(mask=None))
        peer.sock.shutdown(socket.SHUT_WR)
        assert waiting.result() is True
        assert ws.wait_closed(0) is True


def test_wait_closed_leaves_messages_to_others() -> None:
    with client_of_raw_server() as (ws, peer):
        waiting = in_thread(ws.wait_closed)
        peer.send(frame(TEXT, b"tea"))
        assert ws.recv() == "tea"
        peer.sock.close()
        waiting.result()


@pytest.mark.parametrize(("error", "code"), [(None, 1000), (ValueError, 1011), (KeyboardInterrupt, 1011)])
def test_context_manager(error: type[BaseException] | None, code: int) -> None:
    def use(ws: Connection) -> None:
        with ws:
            if error is not None:
                raise error

    with client_of_raw_server() as (ws, peer):
        using = in_thread(use, ws)
        assert peer.read_close() == code
        if error is None:
            using.result()
        else:
            with pytest.raises(error):
                using.result()


def test_server_ends_its_stream_first() -> None:
    """RFC 6455 section 7.1.1."""
    with server_of_raw_client() as (ws, peer):
        peer.send(close_frame(1000))
        assert peer.read_close() == 1000
        assert peer.read_to_eof() == b""
        assert ws.state is State.CLOSING
        peer.sock.close()
        assert ws.wait_closed(10)


@pytest.mark.parametrize(
    "use", ["recv", "send", "ping", "pong", "recv_streaming", "send_json", "recv_json", "fragments"]
)
def test_use_after_the_end(use: str) -> None:
    calls: dict[str, Callable[[Connection], Any]] = {
        "recv": lambda ws: ws.recv(),
        "send": lambda ws: ws.send("x"),
        "fragments": lambda ws: ws.send(["x"]),
        "ping": lambda ws: ws.ping(),
        "pong": lambda ws: ws.pong(),
        "recv_streaming": lambda ws: list(ws.recv_streaming()),
        "send_json": lambda ws: ws.send_json(1),
        "recv_json": lambda ws: ws.recv_json(),
    }
    with client_of_raw_server() as (ws, peer):
        peer.send(close_frame(1000, mask=None))
        peer.sock.shutdown(socket.SHUT_WR)
        assert ws.wait_closed(10)
        with pytest.raises(ConnectionClosedOK, match=r"received 1000 \(OK\); then sent 1000 \(OK\)"):
            calls[use](ws)
        assert list(ws) == []


@pytest.mark.parametrize(
    ("data", "code", "cause"),
    [
        (encode_frame(TEXT, b"x"), 1002, ProtocolError),
        (frame(TEXT, b"\xff"), 1007, UnicodeDecodeError),
        (frame(BINARY, bytes(1000)), 1009, PayloadTooBig),
    ],
)
def test_faults_of_the_peer(data: bytes, code: int, cause: type[Exception]) -> None:
    with client_of_raw_server(max_size=999) as (ws, peer):
        peer.send(data)
        with pytest.raises(ConnectionClosedError, match=f"sent {code}") as caught:
            ws.recv()
        assert isinstance(caught.value.__cause__, cause)
        assert peer.read_close() == code


def test_a_fault_comes_after_what_is_answered() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.send(frame(TEXT, b"tea"), frame(TEXT, b"\xff"))
        assert ws.recv() == "tea"
        ws.send("thanks")
        with pytest.raises(ConnectionClosedError, match="1007"):
            ws.recv()
        assert peer.read_frame().payload == b"thanks"
        assert peer.read_close() == 1007


def test_connection_that_is_cut() -> None:
    with client_of_raw_server() as (ws, peer):
        peer.sock.close()
        with pytest.raises(ConnectionClosedError, match="no close frame received or sent") as caught:
            ws.recv()
        assert isinstance(caught.value.__cause__, EOFError)
        assert (ws.close_code, ws.close_reason) == (1006, "")


# --- max_queue ---


@pytest.mark.parametrize("max_queue", [0, 4, (8, 2)])
def test_max_queue(max_queue: Any) -> None:
    with client_of_raw_server(max_queue=max_queue) as (ws, peer):
        peer.sock.settimeout(0.5)
        messages = itertools.count()
        with contextlib.suppress(TimeoutError):
            for _ in messages:
                peer.send(frame(BINARY, bytes(65536)))
        high = max_queue[0] if isinstance(max_queue, tuple) else max_queue
        assert ws.session.inbox.paused
        assert high < len(ws.session.inbox) <= high + 2
        for _ in range(next(messages) - 1):
            assert len(ws.recv()) == 65536


def test_max_queue_can_be_unlimited() -> None:
    with client_of_raw_server(max_queue=None) as (ws, peer):
        for _ in range(200):
            peer.send(frame(BINARY, bytes(65536)))
        eventually(lambda: len(ws.session.inbox) == 200)


# --- broadcast ---


def test_broadcast() -> None:
    with client_of_raw_server() as (one, first), client_of_raw_server() as (two, second):
        broadcast((ws for ws in (one, two)), "tea")
        broadcast([one, two], b"tea", text=True)
        for peer in (first, second):
            assert [peer.read_frame()[:2] for _ in range(2)] == [(TEXT, b"tea")] * 2


@pytest.mark.parametrize("message", [1, ["a"], None])
def test_broadcast_of_no_message(message: Any) -> None:
    with client_of_raw_server() as (ws, _), pytest.raises(TypeError):
        broadcast([ws], message)


def test_broadcast_skips_closed_connections() -> None:
    with client_of_raw_server() as (one, first), client_of_raw_server() as (two, second):
        first.sock.close()
        assert one.wait_closed(10) or True
        broadcast([one, two], "tea", raise_exceptions=True)
        assert second.read_frame().payload == b"tea"


def test_broadcast_skips_connections_in_a_fragmented_message(caplog: pytest.LogCaptureFixture) -> None:
    with client_of_raw_server() as (ws, peer):
        go_on = threading.Event()

        def fragments() -> Any:
            yield "a"
            go_on.wait()

        sending = in_thread(ws.send, fragments())
        peer.read_frame()
        broadcast([ws], "tea")
        assert "skipped broadcast: sending a fragmented message" in caplog.text
        with pytest.raises(ExceptionGroup, match="skipped broadcast"):
            broadcast([ws], "tea", raise_exceptions=True)
        go_on.set()
        sending.result()


def test_broadcast_tells_of_sockets_that_take_no_more(caplog: pytest.LogCaptureFixture) -> None:
    with client_of_raw_server() as (one, _), client_of_raw_server() as (two, _), client_of_raw_server() as (ws, peer):
        for broken in (one, two):
            broken.socket.shutdown(socket.SHUT_WR)
        broadcast([one, ws], "tea")
        [text] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert text.startswith("skipped broadcast: failed to write message: BrokenPipeError: ")
        with pytest.raises(ExceptionGroup, match="skipped broadcast") as caught:
            broadcast([two, ws], "milk", raise_exceptions=True)
        [error] = caught.value.exceptions
        assert (type(error), str(error)) == (RuntimeError, "failed to write message")
        assert isinstance(error.__cause__, BrokenPipeError)
        assert [peer.read_frame().payload for _ in range(2)] == [b"tea", b"milk"]
        with pytest.raises(ConnectionClosedError) as ended:
            one.recv()
        assert isinstance(ended.value.__cause__, BrokenPipeError)


def test_broadcast_waits_for_nobody() -> None:
    with client_of_raw_server() as (ws, peer):
        message = bytes(1 << 20)
        while not ws.skipped_broadcasts:
            broadcast([ws], message)
        assert len(peer.read_frame().payload) == 1 << 20
        assert len(peer.read_frame().payload) == 1 << 20


# --- attributes ---


def test_attributes() -> None:
    with served() as uri, connect(uri + "chat?x=1") as ws:
        assert isinstance(ws.id, uuid.UUID)
        assert ws.local_address == ws.socket.getsockname()
        assert ws.remote_address == ws.socket.getpeername()
        assert ws.state is State.OPEN
        assert ws.request.path == ws.path == "/chat?x=1"
        assert ws.response.status_code == 101
        assert (ws.subprotocol, ws.close_code, ws.close_reason) == (None, None, None)
        address = ws.remote_address
        assert repr(ws) == f"<ClientConnection OPEN {address}>"
        ws.close()
        assert ws.remote_address == address


def test_debug_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), served() as uri, connect(uri) as ws:
        ws.send("tea")
        ws.recv()
        ws.close()
        for line in (
            "= connection is CONNECTING",
            "= connection is OPEN",
            "> TEXT 'tea' [3 bytes]",
            "< TEXT 'tea' [3 bytes]",
            "= connection is CLOSED",
        ):
            assert line in caplog.messages
        # The first is logged while there is no connection that a handler could ask for its address.
        changes = [record for record in caplog.records if record.message.startswith("= ")]
        early = {record.message for record in changes if not hasattr(record, "websocket")}
        assert early == {"= connection is CONNECTING"}


# --- JSON ---


def test_json() -> None:
    with served() as uri, connect(uri) as ws:
        ws.send_json({"a": [1, None]})
        assert ws.recv_json() == {"a": [1, None]}
        ws.send_json(3)
        assert ws.recv_json(int, timeout=10) == 3
        ws.send("{")
        with pytest.raises(InvalidJSON):
            ws.recv_json()
        with pytest.raises(TimeoutError):
            ws.recv_json(timeout=0)
        with pytest.raises(TypeError):
            ws.send_json(object())


# --- TLS ---


def test_threads_on_both_sides_of_tls() -> None:
    server_context, client_context = tls_contexts()
    with served(ssl=server_context) as uri, connect(uri, ssl=client_context, max_queue=None) as ws:
        messages = [f"{thread} {'x' * size}" for thread in range(4) for size in (1, 20_000, 300_000)]
        sending = [in_thread(ws.send, message) for message in messages]
        assert sorted(ws.recv() for _ in messages) == sorted(messages)
        for call in sending:
            call.result()


def test_the_goodbye_of_tls_may_come_with_the_close_frame() -> None:
    """Servers of asyncio say it, and close TCP only when it is answered."""
    here, there = socket.socketpair()
    server_context, client_context = tls_contexts()

    def serve_once() -> bytes:
        stream = TLSStream(SocketStream(there), server_context, True, None)
        deadline = Deadline(10)
        stream.handshake(deadline)
        protocol = ServerProtocol()
        while not protocol.close_expected():
            protocol.receive_data(read_some(stream, deadline))
            for event in protocol.events_received():
                if protocol.state is State.CONNECTING:
                    protocol.send_response(protocol.accept(event))
            stream.write([data for data in protocol.data_to_send() if data])
            if protocol.close_expected():
                with contextlib.suppress(ssl.SSLWantReadError):
                    stream.object.unwrap()
                stream._pass_down()
            push_all(stream, deadline)
        return read_some(stream.below, deadline)

    serving = in_thread(serve_once)
    with connect("wss://localhost", sock=here, ssl=client_context, close_timeout=None):
        pass
    assert serving.result()  # it was answered, and no thread waited
    there.close()
