"""When a send returns, its bytes are with the kernel, whatever the program and its neighbours do then.

The scenarios keep the driver's thread right after a call that sends, and read what it sent meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from trunkline.testing.conformance.scenario import BOTH, SERVER, scenario
from trunkline.testing.conformance.world import Connection, World, eventually, unmasked
from trunkline.testing.peer import PATIENCE, Peer
from trunkline.testing.tls import tls_contexts
from trunkline.testing.wire import BINARY, CONT, PING, PONG, TEXT, RawFrame

FRAMES = {
    "send": [RawFrame(TEXT, b"a")],
    "send of bytes": [RawFrame(BINARY, b"a" * 1000)],
    "send in fragments": [RawFrame(TEXT, b"a", fin=False), RawFrame(CONT, b"b", fin=False), RawFrame(CONT, b"")],
    "send_json": [RawFrame(TEXT, b"[1]")],
    "ping": [RawFrame(PING, b"p")],
    "pong": [RawFrame(PONG, b"p")],
    "broadcast": [RawFrame(TEXT, b"b")],
}


def ways_to_send(world: World, ws: Connection) -> dict[str, tuple[Callable[[], Any], list[RawFrame]]]:
    """Calls that send, and the frames of each."""
    raw = ws.raw
    calls: dict[str, Callable[[], Any]] = {
        "send": partial(raw.send, "a"),
        "send of bytes": partial(raw.send, b"a" * 1000),
        "send in fragments": partial(raw.send, ["a", "b"]),
        "send_json": partial(raw.send_json, [1]),
        "ping": partial(raw.ping, b"p"),
        "pong": partial(raw.pong, b"p"),
        "broadcast": partial(world.driver.broadcast, [raw], "b"),
    }
    return {name: (calls[name], frames) for name, frames in FRAMES.items()}


class Gate:
    """Keeps the thread that comes by, until the scenario opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self._opened.wait(PATIENCE), "the scenario failed meanwhile"

    def open(self) -> None:
        self._opened.set()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.open()


def read(peer: Peer, frames: list[RawFrame]) -> None:
    for frame in frames:
        assert unmasked(peer.read_frame()) == frame


@scenario(*BOTH)
def what_was_sent_has_left(world: World) -> None:
    """A call has sent when it returns: the next steps of the caller delay nothing."""
    with world.link() as (ws, peer):
        for send, frames in ways_to_send(world, ws).values():
            with Gate() as gate:
                call = world.driver.start(world.driver.in_sequence, send, gate)
                read(peer, frames)
            call.result()


@scenario(SERVER, needs=("tls",))
def what_was_sent_has_left_with_tls(world: World) -> None:
    """The same where bytes are encrypted first; `broadcast`, which never waits, may leave that to others."""
    server_context, client_context = tls_contexts()
    with world.serve(ssl=server_context) as server, Peer.connect(server.address[:2], tls=client_context) as peer:
        peer.open()
        ways = ways_to_send(world, server.accept())
        del ways["broadcast"]
        for send, frames in ways.values():
            with Gate() as gate:
                call = world.driver.start(world.driver.in_sequence, send, gate)
                read(peer, frames)
            call.result()


@scenario(*BOTH)
def answers_have_left(world: World) -> None:
    """The same for a call that a message has woken, with another message behind it.

    Each call has a connection of its own: one that was quick four times may keep frames for the fifth.
    """
    for name, frames in FRAMES.items():
        with world.link() as (ws, peer), Gate() as gate:
            send, _ = ways_to_send(world, ws)[name]
            call = world.driver.start(world.driver.in_sequence, ws.raw.recv, send, gate, ws.raw.recv)
            ws.pong()  # so it is waiting by now, in whatever order calls are begun
            read(peer, [RawFrame(PONG, b"")])
            peer.send(peer.frame(TEXT, b"1") + peer.frame(TEXT, b"2"))
            read(peer, frames)
            gate.open()
            call.result()


@scenario(SERVER)
def neighbours_delay_no_answer(world: World) -> None:
    """Two clients' messages come together: one is answered while the handler of the other one is at work."""
    answered: list[Connection] = []
    with world.serve() as server, world.peer_of(server) as one, world.peer_of(server) as other, Gate() as gate:
        peers: dict[Connection, Peer] = {}
        for peer in (one, other):
            peer.open()
            peers[server.accept()] = peer

        def answer_or_work(ws: Connection) -> Any:
            if answered:
                gate()
            answered.append(ws)
            return ws.raw.send("answer")

        calls = [world.driver.start(world.driver.in_sequence, ws.raw.recv, partial(answer_or_work, ws)) for ws in peers]
        with Gate() as arrival:
            world.driver.start(arrival)
            assert arrival.reached.wait(PATIENCE)
            for peer in peers.values():
                peer.send_frame(TEXT, b"question")
        eventually(lambda: len(answered) > 0)
        assert peers[answered[0]].read_frame().payload == b"answer"
        gate.open()
        for call in calls:
            call.result()
        assert peers[answered[1]].read_frame().payload == b"answer"
