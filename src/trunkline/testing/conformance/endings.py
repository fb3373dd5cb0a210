"""Connections that end without a closing handshake."""

from __future__ import annotations

from functools import partial

from trunkline.exceptions import ConnectionClosedError
from trunkline.testing.conformance.scenario import BOTH, SERVER, scenario
from trunkline.testing.conformance.world import World, eventually, expect
from trunkline.testing.peer import Peer
from trunkline.testing.wire import BINARY, CLOSE, PONG, TEXT, encode_frame, request


@scenario(*BOTH)
def stream_ends_without_a_close_frame(world: World) -> None:
    """Section 7.1.5: code 1006; earlier messages are received, then ConnectionClosedError is raised."""
    with world.link() as (ws, peer):
        peer.send_frame(TEXT, b"a")
        peer.end()
        assert ws.recv() == "a"
        with expect(ConnectionClosedError) as caught:
            ws.recv()
        assert (caught.value.rcvd, caught.value.sent) == (None, None)
        assert str(caught.value) == "no close frame received or sent"
        assert (ws.close_code, ws.close_reason) == (1006, "")
        assert peer.read_to_eof() == b""


@scenario(*BOTH)
def stream_ends_within_a_frame(world: World) -> None:
    """Half a frame is no message."""
    with world.link() as (ws, peer):
        receiving = ws.start("recv")
        peer.send(peer.frame(BINARY, bytes(1000))[:500])
        peer.end()
        with expect(ConnectionClosedError):
            receiving.result()


@scenario(*BOTH)
def connection_is_reset(world: World) -> None:
    """A reset is an end like another; its OSError may be the cause."""
    with world.link() as (ws, peer):
        receiving = ws.start("recv")
        peer.send_frame(TEXT, b"a")
        assert receiving.result() == "a"
        receiving = ws.start("recv")
        peer.reset()
        with expect(ConnectionClosedError):
            receiving.result()
        with expect(ConnectionClosedError):
            ws.send("a")
        assert ws.close_code == 1006


@scenario(*BOTH)
def peer_vanishes_while_sending_waits(world: World) -> None:
    """A call that waits for the peer to read learns that the peer is gone."""
    with world.link(ping_interval=None) as (ws, peer):
        calls = [ws.start("send", bytes(1 << 20)) for _ in range(30)]
        assert peer.read_frame().payload == bytes(1 << 20)  # so they have begun
        peer.reset()
        with expect(ConnectionClosedError):
            for call in calls:
                call.result()
        assert ws.close_code == 1006
        for call in calls:
            call.future.exception(10)


@scenario(*BOTH, needs=("half-close",))
def peer_that_ended_its_half_gets_its_answers(world: World) -> None:
    """A task that answers at once, without waiting for anything else, is quicker than the end of the stream."""
    for count in range(1, 4):
        with world.link() as (ws, peer):
            answer = (ws.raw.recv, partial(ws.raw.send, "a"), partial(ws.raw.send, "b")) * count
            call = world.driver.start(world.driver.in_sequence, *answer, ws.raw.recv)
            ws.pong()  # so it is waiting by now, in whatever order calls are begun
            assert peer.read_frame().opcode == PONG
            peer.send(peer.frame(TEXT, b"x") * count)
            peer.end()
            assert [peer.read_frame().payload for _ in range(2 * count)] == [b"a", b"b"] * count
            with expect(ConnectionClosedError):
                call.result()


@scenario(*BOTH)
def peer_that_ended_its_half_and_does_not_read_is_dropped(world: World) -> None:
    """It can't keep the connection for longer than `close_timeout`."""
    with world.link(close_timeout=0.05, ping_interval=None) as (ws, peer):
        calls = [ws.start("send", bytes(1 << 20)) for _ in range(30)]
        assert peer.read_frame().payload == bytes(1 << 20)  # so they have begun
        peer.end()
        ws.wait_closed()
        with expect(ConnectionClosedError):
            for call in calls:
                call.result()
        for call in calls:
            call.future.exception(10)


@scenario(*BOTH)
def pings_end_with_the_connection(world: World) -> None:
    """A task that waits for a pong doesn't wait for ever: it gets ConnectionClosed, or an event that tells nothing."""
    with world.link() as (ws, peer):
        ws.ping(b"1")
        assert peer.read_frame().payload == b"1"
        peer.close()
        ws.wait_closed()


#: The bytes that a client may have sent when it vanishes.
STAGES = {
    "connected": b"",
    "within the head": request()[:50],
    "opened": request(),
    "within a header": request() + encode_frame(TEXT, b"x")[:1],
    "within a payload": request() + encode_frame(BINARY, bytes(100_000))[:70_000],
    "within a message": request() + encode_frame(TEXT, b"a", fin=False),
    "with messages unread": request() + encode_frame(TEXT, b"x") * 100,
    "closing": request() + encode_frame(CLOSE, b"\x03\xe8"),
}


def vanish(peer: Peer, reset: bool) -> None:
    if reset:
        peer.reset()
    peer.close()


@scenario(SERVER)
def clients_vanish_at_every_stage(world: World) -> None:
    """A client that ends or resets its connection, at whatever stage, leaves nothing and harms no other."""
    for reset in (False, True):
        with world.serve(max_queue=4, ping_interval=None) as server:
            for sent in STAGES.values():
                with world.peer_of(server) as peer:
                    peer.send(sent)
                    vanish(peer, reset)
            server.release()
            eventually(lambda: not server.raw.connections, "the server forgets its connections")
    assert not [line for line in world.log if "handler failed" in line]
