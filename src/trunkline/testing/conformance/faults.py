"""The faults of a peer, and the close code that answers each (RFC 6455 sections 7.1.7 and 7.4.1)."""

from __future__ import annotations

from collections.abc import Callable

from trunkline.core.session import Side
from trunkline.exceptions import ConnectionClosedError
from trunkline.testing.conformance.scenario import BOTH, scenario
from trunkline.testing.conformance.world import World, expect
from trunkline.testing.peer import Peer
from trunkline.testing.wire import BINARY, CLOSE, CONT, PING, RSV1, RSV2, RSV3, TEXT, encode_frame, random_mask

Fault = Callable[[Peer], bytes]


def check_faults(world: World, code: int, *faults: Fault) -> None:
    for fault in faults:
        with world.link() as (ws, peer):
            receiving = ws.start("recv")
            peer.send(fault(peer))
            assert peer.read_close() == code
            peer.close()
            with expect(ConnectionClosedError) as caught:
                receiving.result()
            assert caught.value.sent.code == code
            assert caught.value.rcvd is None
            assert ws.close_code == 1006


@scenario(*BOTH)
def wrong_masking_is_refused(world: World) -> None:
    """Section 5.1: a server closes upon an unmasked frame, a client upon a masked one."""
    wrong = None if world.role is Side.SERVER else random_mask()
    check_faults(world, 1002, lambda peer: encode_frame(TEXT, b"a", mask=wrong))


@scenario(*BOTH)
def reserved_bits_and_opcodes_are_refused(world: World) -> None:
    """Section 5.2: bits that no extension uses are 0, and opcodes that are reserved aren't used."""
    check_faults(world, 1002, *(lambda peer, rsv=rsv: peer.frame(TEXT, rsv=rsv) for rsv in (RSV1, RSV2, RSV3)))
    check_faults(world, 1002, *(lambda peer, opcode=opcode: peer.frame(opcode) for opcode in (3, 7, 11, 15)))


@scenario(*BOTH)
def lengths_that_are_not_minimal_are_refused(world: World) -> None:
    """Section 5.2: "the minimal number of bytes MUST be used to encode the length"; 64 bits begin with a 0."""
    check_faults(
        world,
        1002,
        lambda peer: peer.frame(BINARY, bytes(125), width=2),
        lambda peer: peer.frame(BINARY, bytes(125), width=8),
        lambda peer: peer.frame(BINARY, length=1 << 63),
    )


@scenario(*BOTH)
def broken_fragmentation_is_refused(world: World) -> None:
    """Section 5.4: a message begins with its opcode, and ends before the next one begins."""
    check_faults(
        world,
        1002,
        lambda peer: peer.frame(CONT, b"a"),
        lambda peer: peer.frame(TEXT, b"a", fin=False) + peer.frame(TEXT, b"a"),
        lambda peer: peer.frame(BINARY, b"a", fin=False) + peer.frame(BINARY, b"a", fin=False),
    )


@scenario(*BOTH)
def broken_control_frames_are_refused(world: World) -> None:
    """Section 5.5: control frames have at most 125 bytes of payload, and aren't fragmented."""
    check_faults(
        world,
        1002,
        lambda peer: peer.frame(PING, bytes(126)),
        lambda peer: peer.frame(PING, b"a", fin=False),
        lambda peer: peer.frame(CLOSE, b"\x03\xe8" + bytes(124)),
    )


@scenario(*BOTH)
def text_that_is_not_utf_8_is_refused(world: World) -> None:
    """Section 8.1: 1007, also when the fault stands in a fragment or across two."""
    check_faults(
        world,
        1007,
        lambda peer: peer.frame(TEXT, b"\xff"),
        lambda peer: peer.frame(TEXT, b"\xed\xa0\x80"),  # half of a surrogate pair
        lambda peer: peer.frame(TEXT, b"\xe2\x82"),
        lambda peer: peer.frame(TEXT, b"\xe2\x82", fin=False) + peer.frame(CONT, b"a"),
    )


@scenario(*BOTH)
def broken_close_frames_are_refused(world: World) -> None:
    """Sections 5.5.1 and 7.4: a close frame has no body, or a code that may be sent and a reason in UTF-8."""
    codes = (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    bodies = [b"\x03", *(code.to_bytes(2, "big") for code in codes)]
    check_faults(world, 1002, *(lambda peer, body=body: peer.frame(CLOSE, body) for body in bodies))
    check_faults(world, 1007, lambda peer: peer.frame(CLOSE, b"\x03\xe8\xff"))


@scenario(*BOTH)
def nothing_is_heard_after_a_fault(world: World) -> None:
    """Section 7.1.7: bytes behind a fault aren't processed; messages before it are, and may be answered."""
    with world.link() as (ws, peer):
        peer.send(peer.frame(TEXT, b"before") + peer.frame(TEXT, b"\xff") + peer.frame(TEXT, b"after"))
        assert ws.recv() == "before"
        ws.send("answer")
        receiving = ws.start("recv")
        assert peer.read_frame().payload == b"answer"
        assert peer.read_close() == 1007
        peer.close()
        with expect(ConnectionClosedError):
            receiving.result()
