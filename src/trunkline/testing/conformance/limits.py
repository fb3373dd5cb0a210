"""Limits of memory and time: sizes, queues, back-pressure in both directions."""

from __future__ import annotations

import math
from typing import Any

from trunkline.exceptions import ConnectionClosedError, PayloadTooBig
from trunkline.testing.conformance.scenario import BOTH, SERVER, scenario
from trunkline.testing.conformance.world import World, expect
from trunkline.testing.wire import BINARY, CONT, PING, TEXT

MIB = 1 << 20


@scenario(*BOTH)
def timeouts_may_be_of_any_length(world: World) -> None:
    """A month, which no system call can wait, and more seconds than clocks can count."""
    for seconds in (30 * 86400, 1e300, math.inf):
        timeouts: dict[str, Any] = dict.fromkeys(
            ("open_timeout", "ping_interval", "ping_timeout", "close_timeout"), seconds
        )
        with world.link(**timeouts) as (ws, peer):
            ws.raw.ping_interval = ws.raw.ping_timeout = ws.raw.close_timeout = seconds
            wait = {"timeout": seconds} if "timeouts" in world.driver.features else {}
            receiving = ws.start("recv", **wait)
            ws.send("go on")
            assert peer.read_frame().opcode == TEXT
            peer.send_frame(TEXT, b"yes")
            assert receiving.result() == "yes"
            peer.send_close()
            assert peer.read_close() == 1000
            peer.close()
            ws.wait_closed()
        assert not world.log


@scenario(*BOTH)
def max_size_limits_messages(world: World) -> None:
    """`max_size`: 1009 as soon as the length is known, for the whole of a fragmented message."""
    for fragmented in (False, True):
        with world.link(max_size=100) as (ws, peer):
            peer.send_frame(BINARY, bytes(100))
            peer.send_frame(BINARY, bytes(60), fin=False)
            peer.send_frame(CONT, bytes(40))
            assert ws.recv() == ws.recv() == bytes(100)
            receiving = ws.start("recv")
            if fragmented:
                peer.send(peer.frame(BINARY, bytes(60), fin=False) + peer.frame(CONT, bytes(41)))
            else:
                peer.send_frame(BINARY, length=101)  # refused without its payload
            assert peer.read_close() == 1009
            peer.close()
            with expect(ConnectionClosedError) as caught:
                receiving.result()
            assert isinstance(caught.value.__cause__, PayloadTooBig)


@scenario(*BOTH)
def max_size_limits_fragments(world: World) -> None:
    """`max_size=(message, fragment)` limits both."""
    with world.link(max_size=(None, 50)) as (ws, peer):
        peer.send_frame(BINARY, bytes(50), fin=False)
        peer.send_frame(CONT, bytes(50))
        assert ws.recv() == bytes(100)
        receiving = ws.start("recv")
        peer.send_frame(BINARY, bytes(51))
        assert peer.read_close() == 1009
        peer.close()
        with expect(ConnectionClosedError):
            receiving.result()


@scenario(*BOTH)
def messages_have_a_limited_number_of_fragments(world: World) -> None:
    """An empty frame costs memory, too: `max_size` limits how many of them a message may have (1009)."""
    with world.link(max_size=1000, max_queue=None) as (ws, peer):
        receiving = ws.start("recv")
        peer.send(peer.frame(TEXT, fin=False) + b"".join(peer.frame(CONT, fin=False) for _ in range(4096)))
        assert peer.read_close() == 1009
        peer.close()
        with expect(ConnectionClosedError):
            receiving.result()


@scenario(*BOTH)
def a_full_queue_stops_reading(world: World) -> None:
    """`max_queue`: a program that doesn't receive slows the peer down; one that receives again gets everything."""
    with world.link(max_queue=8, ping_interval=None) as (ws, peer):
        frame = peer.frame(BINARY, bytes(4096))
        sent = peer.send_until_blocked(frame, limit=64 * MIB, patience=0.3)
        assert sent < 64 * MIB
        for _ in range(sent // len(frame)):
            assert ws.recv() == bytes(4096)


@scenario(*BOTH)
def no_limit_to_the_queue(world: World) -> None:
    """`max_queue=None` reads on whatever is received."""
    with world.link(max_queue=None) as (ws, peer):
        for _ in range(2000):
            peer.send_frame(TEXT, b"a")
        peer.send_frame(PING)
        assert peer.read_frame().payload == b""
        assert [ws.recv() for _ in range(2000)] == ["a"] * 2000


@scenario(*BOTH)
def send_waits_for_a_peer_that_does_not_read(world: World) -> None:
    """Back-pressure: `send` returns when the message is on its way, and the bytes that wait are bounded."""
    with world.link(ping_interval=None) as (ws, peer):
        calls = [ws.start("send", bytes(MIB)) for _ in range(30)]
        assert peer.read_frame().payload == bytes(MIB)  # so they have begun
        assert not all(call.done() for call in calls)
        for _ in calls[1:]:
            assert peer.read_frame().payload == bytes(MIB)
        for call in calls:
            call.result()


@scenario(*BOTH, needs=("write limit",))
def send_does_not_wait_below_the_write_limit(world: World) -> None:
    """`write_limit`: so much may wait to leave before `send` does."""
    with world.link(ping_interval=None, write_limit=64 * MIB) as (ws, peer):
        for _ in range(20):
            ws.send(bytes(MIB))
        for _ in range(20):
            assert peer.read_frame().payload == bytes(MIB)


@scenario(*BOTH)
def pings_of_a_peer_that_does_not_read_cost_nothing(world: World) -> None:
    """Section 5.5.3: the answer to the latest ping is enough; those that can't leave don't pile up."""
    with world.link(ping_interval=None, max_size=None) as (ws, peer):
        calls = [ws.start("send", bytes(MIB)) for _ in range(20)]
        assert peer.read_frame().payload == bytes(MIB)  # so they have begun
        for i in range(20_000):
            peer.send_frame(PING, b"%d" % i)
        answers = []
        received = 1
        while received < len(calls):
            frame = peer.read_frame()
            if frame.opcode == BINARY:
                received += 1
            else:
                answers.append(frame.payload)
        while not answers or answers[-1] != b"19999":
            answers.append(peer.read_frame().payload)
        assert len(answers) < 20_000 // 2
        for call in calls:
            call.result()


@scenario(SERVER)
def slow_handshake_times_out(world: World) -> None:
    """`open_timeout`: who doesn't finish the opening handshake is dropped."""
    with world.serve(open_timeout=0.05) as server:
        for sent in (b"", b"GET / HTTP/1.1\r\n"):
            with world.peer_of(server) as peer:
                peer.send(sent)
                peer.read_to_eof()
