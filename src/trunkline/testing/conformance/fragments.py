"""Messages in fragments (RFC 6455 section 5.4)."""

from __future__ import annotations

from trunkline.exceptions import ConcurrencyError, ConnectionClosedError, ConnectionClosedOK
from trunkline.testing.conformance.scenario import BOTH, scenario
from trunkline.testing.conformance.world import Future, World, eventually, expect, unmasked
from trunkline.testing.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawFrame


@scenario(*BOTH)
def receives_fragments_as_one_message(world: World) -> None:
    """Section 5.4: a message is the concatenation of its frames; control frames may stand between them."""
    with world.link() as (ws, peer):
        peer.send_frame(TEXT, b"\xe2\x82", fin=False)
        peer.send_frame(PING, b"now?")
        peer.send_frame(CONT, b"", fin=False)
        peer.send_frame(CONT, b"\xac")
        peer.send_frame(BINARY, b"\xff", fin=False)
        peer.send_frame(CONT, b"")
        assert ws.recv() == "€"
        assert ws.recv() == b"\xff"
        assert unmasked(peer.read_frame()) == RawFrame(PONG, b"now?")


@scenario(*BOTH)
def sends_iterables_in_fragments(world: World) -> None:
    """`send` of an iterable: the first fragment has the opcode, the last frame ends the message."""
    with world.link() as (ws, peer):
        for fragments, opcode in ((["a", "b", ""], TEXT), ((b"a", bytearray(b"b")), BINARY), (iter(["ab"]), TEXT)):
            ws.send(fragments)
            frames = [unmasked(peer.read_frame())]
            while not frames[-1].fin:
                frames.append(unmasked(peer.read_frame()))
            assert [frame.opcode for frame in frames] == [opcode] + [CONT] * (len(frames) - 1)
            assert b"".join(frame.payload for frame in frames) == b"ab"


@scenario(*BOTH)
def empty_iterable_sends_nothing(world: World) -> None:
    """`send` of an empty iterable sends no frame."""
    with world.link() as (ws, peer):
        ws.send([])
        ws.send("next")
        assert unmasked(peer.read_frame()) == RawFrame(TEXT, b"next")


@scenario(*BOTH)
def fragments_leave_as_they_come(world: World) -> None:
    """Each fragment leaves before the next is asked for, and another message waits for the end, or is refused."""
    with world.link() as (ws, peer):
        steps: list[Future[object]] = [Future(), Future()]
        sending = ws.send_steps(steps)
        steps[0].set_result("a")
        assert unmasked(peer.read_frame()) == RawFrame(TEXT, b"a", False)
        other = ws.start("send", "other")
        ws.ping(b"between")  # a control frame needn't wait (section 5.4)
        assert unmasked(peer.read_frame()) == RawFrame(PING, b"between")
        steps[1].set_result("b")
        assert unmasked(peer.read_frame()) == RawFrame(CONT, b"b", False)
        assert unmasked(peer.read_frame()) == RawFrame(CONT, b"")
        sending.result()
        try:
            other.result()
        except ConcurrencyError:
            ws.send("other")
        assert unmasked(peer.read_frame()) == RawFrame(TEXT, b"other")


@scenario(*BOTH)
def fragments_of_two_types_fail_the_connection(world: World) -> None:
    """A message that began can't be taken back: TypeError for the caller, 1011 for the peer."""
    with world.link() as (ws, peer):
        sending = ws.start("send", ["a", b"b"])
        assert unmasked(peer.read_frame()) == RawFrame(TEXT, b"a", False)
        with expect(TypeError):
            sending.result()
        assert peer.read_close() == 1011
        peer.close()


@scenario(*BOTH)
def closing_during_a_fragmented_message(world: World) -> None:
    """A message that can't end any more ends the connection: 1011, and the sender gets ConnectionClosedError."""
    with world.link() as (ws, peer):
        steps: list[Future[object]] = [Future(), Future()]
        sending = ws.send_steps(steps)
        steps[0].set_result("a")
        assert peer.read_frame().payload == b"a"
        closing = ws.start("close")
        assert peer.read_close() == 1011
        peer.close()
        closing.result()
        steps[1].set_result("b")
        with expect(ConnectionClosedError):
            sending.result()


@scenario(*BOTH)
def streams_fragments_as_they_come(world: World) -> None:
    """`recv_streaming` gives each fragment on arrival; text is decoded across fragments."""
    with world.link() as (ws, peer):
        received: list[object] = []
        receiving = ws.start("recv_streaming", received.append)
        peer.send_frame(TEXT, b"a\xc3", fin=False)
        eventually(lambda: received == ["a"])
        peer.send_frame(CONT, b"\xa9", fin=False)
        eventually(lambda: "".join(map(str, received)) == "aé")
        peer.send_frame(CONT, b"b")
        receiving.result()
        assert "".join(map(str, received)) == "aéb"
        peer.send_frame(BINARY, b"whole")
        assert ws.recv_fragments() == [b"whole"]
        peer.send_frame(TEXT, b"a", fin=False)
        peer.send_frame(CONT, b"b")
        assert b"".join(ws.recv_fragments(decode=False)) == b"ab"


@scenario(*BOTH)
def streaming_ends_with_the_connection(world: World) -> None:
    """When the connection ends within a message, `recv_streaming` raises."""
    with world.link() as (ws, peer):
        received: list[object] = []
        receiving = ws.start("recv_streaming", received.append)
        peer.send_frame(TEXT, b"a", fin=False)
        eventually(lambda: received == ["a"])
        peer.close()
        with expect(ConnectionClosedError):
            receiving.result()


@scenario(*BOTH)
def closes_between_fragments(world: World) -> None:
    """Section 5.4: a close frame may stand there, too; the message never ends, the connection does, as it should."""
    with world.link() as (ws, peer):
        peer.send(peer.frame(TEXT, b"a", fin=False), peer.frame(CLOSE, b"\x03\xe8"), peer.frame(CONT, b"b"))
        assert peer.read_close() == 1000
        peer.close()
        with expect(ConnectionClosedOK):
            ws.recv()


@scenario(*BOTH, needs=("cancellation",))
def cancelled_receiving_loses_no_fragment(world: World) -> None:
    """`recv` may be cancelled between the fragments of its message."""
    with world.link(max_queue=4) as (ws, peer):
        for i in range(20):
            call = ws.start("recv")
            peer.send_frame(TEXT if i == 0 else CONT, b"%d," % i, fin=False)
            assert call.cancel()
        peer.send_frame(CONT, b"end")
        assert ws.recv() == "".join(f"{i}," for i in range(20)) + "end"


@scenario(*BOTH, needs=("cancellation",))
def cancelled_streaming_makes_receiving_useless(world: World) -> None:
    """After the first fragment, who stops can't go on: later calls get ConcurrencyError, not half a message."""
    with world.link() as (ws, peer):
        received: list[object] = []
        receiving = ws.start("recv_streaming", received.append)
        peer.send_frame(TEXT, b"a", fin=False)
        eventually(lambda: received == ["a"])
        assert receiving.cancel()
        peer.send_frame(CONT, b"b")
        with expect(ConcurrencyError):
            ws.recv()


@scenario(*BOTH, needs=("cancellation",))
def cancelled_fragments_fail_the_connection(world: World) -> None:
    """A message that stops in the middle is an error that the peer is told of: 1011."""
    with world.link() as (ws, peer):
        steps: list[Future[object]] = [Future(), Future()]
        sending = ws.send_steps(steps)
        steps[0].set_result("a")
        assert peer.read_frame().payload == b"a"
        assert sending.cancel()
        assert peer.read_close() == 1011
        peer.close()
        steps[1].set_result("b")
