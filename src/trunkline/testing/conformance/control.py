"""Pings, pongs, and the connection that is kept alive by them (RFC 6455 sections 5.5.2 and 5.5.3)."""

from __future__ import annotations

from trunkline.exceptions import ConcurrencyError, ConnectionClosedError, ProtocolError
from trunkline.testing.conformance.scenario import BOTH, scenario
from trunkline.testing.conformance.world import World, eventually, expect, unmasked
from trunkline.testing.wire import PING, PONG, TEXT, RawFrame


@scenario(*BOTH)
def answers_pings(world: World) -> None:
    """Section 5.5.2: a pong with the same payload, whether or not a task receives."""
    with world.link() as (_, peer):
        for payload in (b"", b"a", bytes(125)):
            peer.send_frame(PING, payload)
            assert unmasked(peer.read_frame()) == RawFrame(PONG, payload)


@scenario(*BOTH)
def ping_waits_for_its_pong(world: World) -> None:
    """`ping` tells when its pong comes, or that of a later ping; `latency` is that of the last one."""
    with world.link() as (ws, peer):
        assert ws.latency == 0
        pings = [ws.ping(payload) for payload in (b"1", b"2", b"3")]
        for payload in (b"1", b"2", b"3"):
            assert unmasked(peer.read_frame()) == RawFrame(PING, payload)
        peer.send_frame(PONG, b"unsolicited")
        peer.send_frame(PONG, b"2")
        for ping in pings[:2]:
            ws.wait_for_pong(ping)
        assert 0 < ws.latency < 60
        with expect(ConcurrencyError):
            ws.ping(b"3")
        peer.send_frame(PONG, b"3")
        ws.wait_for_pong(pings[2])


@scenario(*BOTH)
def ping_draws_a_payload(world: World) -> None:
    """Without `data`, pings have payloads that differ; too long ones are refused before a byte is sent."""
    with world.link() as (ws, peer):
        for data in (None, None, "é"):
            ws.ping(data)
        payloads = [peer.read_frame().payload for _ in range(3)]
        assert len(set(payloads)) == 3
        assert payloads[2] == "é".encode()
        with expect(ProtocolError):
            ws.ping(bytes(126))
        ws.pong(b"next")
        assert unmasked(peer.read_frame()) == RawFrame(PONG, b"next")


@scenario(*BOTH)
def pongs_may_be_sent_unasked(world: World) -> None:
    """Section 5.5.3: a pong may be sent unsolicited, and a response to it is not expected."""
    with world.link() as (ws, peer):
        ws.pong(b"alive")
        assert unmasked(peer.read_frame()) == RawFrame(PONG, b"alive")
        peer.send_frame(PONG, b"alive, too")
        peer.send_frame(TEXT, b"a")
        assert ws.recv() == "a"


@scenario(*BOTH)
def keepalive_pings_and_measures(world: World) -> None:
    """Every `ping_interval` a ping leaves, and its pong measures `latency`."""
    with world.link(ping_interval=0.01) as (ws, peer):
        for _ in range(3):
            frame = peer.read_frame()
            assert frame.opcode == PING
            peer.send_frame(PONG, frame.payload)
        eventually(lambda: ws.latency > 0)


@scenario(*BOTH)
def keepalive_drops_a_silent_peer(world: World) -> None:
    """No pong within `ping_timeout`: 1011, and calls that receive or send learn that it was the keepalive."""
    with world.link(ping_interval=0.01, ping_timeout=0.02, close_timeout=0.05) as (ws, peer):
        receiving = ws.start("recv")
        assert peer.read_close() == 1011
        with expect(ConnectionClosedError) as caught:
            receiving.result()
        assert "keepalive ping timeout" in str(caught.value)
        assert caught.value.sent.code == 1011
        assert isinstance(caught.value.__cause__, TimeoutError)


@scenario(*BOTH)
def keepalive_without_a_timeout_waits(world: World) -> None:
    """`ping_timeout=None` only measures: pings leave though none is answered."""
    with world.link(ping_interval=0.01, ping_timeout=None) as (ws, peer):
        for _ in range(4):
            assert peer.read_frame().opcode == PING
        peer.send_frame(TEXT, b"a")
        assert ws.recv() == "a"
