"""The closing handshake, from either end (RFC 6455 section 7)."""

from __future__ import annotations

from trunkline.core.session import Side, State
from trunkline.exceptions import ConnectionClosedError, ConnectionClosedOK, ProtocolError
from trunkline.testing.conformance.scenario import BOTH, CLIENT, SERVER, scenario
from trunkline.testing.conformance.world import World, eventually, expect, unmasked
from trunkline.testing.peer import Peer
from trunkline.testing.wire import CLOSE, PING, PONG, TEXT, RawFrame


def end_of_tcp(world: World, peer: Peer) -> None:
    """After the close frames the server ends TCP first (section 7.1.1)."""
    if world.role is Side.SERVER:
        assert peer.read_to_eof() == b""
    peer.close()


@scenario(*BOTH)
def closes_with_code_and_reason(world: World) -> None:
    """Section 7.1.2: `close` sends a close frame and waits for the answer and the end of TCP."""
    with world.link() as (ws, peer):
        assert (ws.state, ws.close_code, ws.close_reason) == (State.OPEN, None, None)
        closing = ws.start("close", 4000, "bye é")
        assert unmasked(peer.read_frame()) == RawFrame(CLOSE, b"\x0f\xa0bye \xc3\xa9")
        assert ws.state is State.CLOSING
        assert not closing.done()
        peer.send_close(4000, b"bye \xc3\xa9")
        end_of_tcp(world, peer)
        closing.result()
        assert (ws.state, ws.close_code, ws.close_reason) == (State.CLOSED, 4000, "bye é")
        ws.close()  # does nothing
        ws.wait_closed()


@scenario(*BOTH)
def closes_normally_by_default(world: World) -> None:
    """`close()` has code 1000, and later calls raise ConnectionClosedOK."""
    with world.link() as (ws, peer):
        closing = ws.start("close")
        assert peer.read_close() == 1000
        peer.send_close()
        end_of_tcp(world, peer)
        closing.result()
        for method, arguments in (("recv", ()), ("send", ("a",)), ("ping", ()), ("pong", ())):
            with expect(ConnectionClosedOK) as caught:
                ws.start(method, *arguments).result()
            assert str(caught.value) == "sent 1000 (OK); then received 1000 (OK)"


@scenario(*BOTH)
def answers_a_close_frame(world: World) -> None:
    """Section 5.5.1: a close frame is answered with the status code that it has."""
    for code, reason, kind in (
        (1000, b"", ConnectionClosedOK),
        (1001, b"going", ConnectionClosedOK),
        (None, b"", ConnectionClosedOK),
        (1011, b"broken", ConnectionClosedError),
        (3000, b"", ConnectionClosedError),
        (4999, b"", ConnectionClosedError),
    ):
        with world.link() as (ws, peer):
            receiving = ws.start("recv")
            peer.send_close(code, reason)
            assert peer.read_close() == code
            end_of_tcp(world, peer)
            with expect(kind) as caught:
                receiving.result()
            assert caught.value.rcvd_then_sent is True
            assert (ws.close_code, ws.close_reason) == (1005 if code is None else code, reason.decode())


@scenario(*BOTH)
def close_frames_cross(world: World) -> None:
    """Both ends close at once: each has sent one frame, and neither answers the other's."""
    with world.link() as (ws, peer):
        closing = ws.start("close", 4001)
        eventually(lambda: ws.state is State.CLOSING)
        peer.send_close(4002)
        assert peer.read_frame().close_code == 4001
        end_of_tcp(world, peer)
        closing.result()
        assert ws.close_code == 4002
        with expect(ConnectionClosedError) as caught:
            ws.recv()
        assert caught.value.rcvd_then_sent is False


@scenario(*BOTH)
def close_refuses_what_cannot_be_sent(world: World) -> None:
    """Sections 7.4.1 and 5.5: reserved codes and long reasons raise before a byte is sent."""
    with world.link() as (ws, peer):
        for code, reason in ((1005, ""), (1006, ""), (1015, ""), (999, ""), (2999, ""), (5000, ""), (1000, "é" * 62)):
            with expect(ProtocolError):
                ws.close(code, reason)
        ws.send("still open")
        assert unmasked(peer.read_frame()) == RawFrame(TEXT, b"still open")


@scenario(*BOTH)
def close_reads_to_the_close_frame(world: World) -> None:
    """The peer's close frame stands behind messages; those that fit the queue are still given."""
    with world.link(max_queue=2) as (ws, peer):
        for i in range(2):
            peer.send_frame(TEXT, b"%d" % i)
        peer.send_frame(PING)
        assert peer.read_frame().opcode == PONG  # so they have arrived
        closing = ws.start("close")
        assert peer.read_close() == 1000
        for i in range(2, 200):
            peer.send_frame(TEXT, b"%d" % i)
        peer.send_close()
        end_of_tcp(world, peer)
        closing.result()
        assert ws.recv() == "0"
        assert ws.recv() == "1"
        assert ws.close_code == 1000


@scenario(*BOTH)
def messages_are_given_after_the_end(world: World) -> None:
    """Messages that arrived before the connection closed are received before ConnectionClosed is raised."""
    with world.link() as (ws, peer):
        peer.send_frame(TEXT, b"a")
        peer.send_frame(TEXT, b"b")
        peer.send_close()
        assert peer.read_close() == 1000
        end_of_tcp(world, peer)
        ws.wait_closed()
        assert [ws.recv(), ws.recv()] == ["a", "b"]
        with expect(ConnectionClosedOK):
            ws.recv()


@scenario(*BOTH)
def close_wakes_who_receives(world: World) -> None:
    """A call that waits for a message learns that the connection was closed under it."""
    with world.link() as (ws, peer):
        receiving = ws.start("recv")
        closing = ws.start("close")
        assert peer.read_close() == 1000
        peer.send_close()
        end_of_tcp(world, peer)
        closing.result()
        with expect(ConnectionClosedOK):
            receiving.result()


@scenario(*BOTH)
def close_wakes_who_sends(world: World) -> None:
    """A call that waits for the peer to read learns that the connection is gone."""
    with world.link(close_timeout=0.05, ping_interval=None) as (ws, peer):
        calls = [ws.start("send", bytes(1 << 20)) for _ in range(30)]
        assert peer.read_frame().payload == bytes(1 << 20)  # so they have begun
        assert not all(call.done() for call in calls)
        ws.close()
        with expect(ConnectionClosedError):
            for call in calls:
                call.result()
        for call in calls:
            call.future.exception(10)


@scenario(*BOTH)
def peer_that_does_not_close_is_dropped(world: World) -> None:
    """No answer within `close_timeout`: the connection is dropped, with 1006 (section 7.1.5)."""
    with world.link(close_timeout=0.05) as (ws, peer):
        closing = ws.start("close")
        assert peer.read_close() == 1000
        closing.result()
        assert ws.close_code == 1006
        with expect(ConnectionClosedError):
            ws.recv()


@scenario(CLIENT)
def server_that_does_not_end_tcp_is_dropped(world: World) -> None:
    """Section 7.1.1: the client waits for the server to end TCP, but not for ever."""
    with world.link(close_timeout=0.05) as (ws, peer):
        closing = ws.start("close")
        assert peer.read_close() == 1000
        peer.send_close()
        closing.result()
        assert ws.close_code == 1000


@scenario(SERVER, needs=("half-close",))
def half_closed_peer_is_read_to_its_end(world: World) -> None:
    """Section 7.1.1: the server ends its half first, and reads on until the client ends the other one."""
    with world.link() as (ws, peer):
        closing = ws.start("close")
        assert peer.read_close() == 1000
        peer.send_frame(TEXT, b"x")
        peer.send_close()
        assert peer.read_to_eof() == b""
        assert not closing.done()
        peer.send(b"ignored")
        peer.end()
        closing.result()
        assert ws.close_code == 1000
        assert ws.recv() == "x"


@scenario(*BOTH, needs=("cancellation", "cancelled close"))
def cancelled_close_can_be_repeated(world: World) -> None:
    """A `close` that is cancelled has sent its frame; another one waits for the rest."""
    with world.link() as (ws, peer):
        for _ in range(3):
            closing = ws.start("close", 1001, "bye")
            eventually(lambda: ws.state is State.CLOSING)
            assert closing.cancel()
        closing = ws.start("close")
        assert unmasked(peer.read_frame()) == RawFrame(CLOSE, b"\x03\xe9bye")
        peer.send_close(1001, b"bye")
        end_of_tcp(world, peer)
        closing.result()
        assert ws.close_code == 1001
