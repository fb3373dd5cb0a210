"""Servers: handlers, broadcast, and shutting down."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import threading

from trunkline.core.session import State
from trunkline.datastructures import Headers
from trunkline.exceptions import ConnectionClosedOK
from trunkline.http11 import Response
from trunkline.testing.conformance.scenario import PAIR, SERVER, scenario
from trunkline.testing.conformance.world import Keeper, World, eventually, expect, unmasked
from trunkline.testing.peer import PATIENCE, Peer
from trunkline.testing.wire import BINARY, TEXT, RawFrame, request, status_of


@scenario(SERVER)
def handler_that_returns_closes_normally(world: World) -> None:
    """The end of the handler is the end of the connection: 1000."""
    with world.link() as (ws, peer):
        ws.finish()
        assert peer.read_close() == 1000


@scenario(SERVER)
def handler_that_raises_closes_with_1011(world: World) -> None:
    """An error of the handler is logged, tells the client nothing but 1011, and harms no other connection."""
    with world.serve() as server, world.peer_of(server) as peer, world.peer_of(server) as other_peer:
        peer.open()
        ws = server.accept()
        other_peer.open()
        other = server.accept()
        ws.finish(ValueError("secret"))
        assert unmasked(peer.read_frame()).payload == b"\x03\xf3"
        peer.send_close(1011)
        peer.close()
        eventually(lambda: "connection handler failed" in world.log)
        other.send("still here")
        assert other_peer.read_frame().payload == b"still here"


@scenario(SERVER)
def handler_gets_the_path_if_it_asks_for_it(world: World) -> None:
    """`handler(connection, path)`, as older programs have it."""
    paths: list[str] = []
    handler = world.driver.handler

    def with_path(hand_over):  # type: ignore[no-untyped-def]
        inner = handler(hand_over)

        def two(connection, path):  # type: ignore[no-untyped-def]
            paths.append(path)
            return inner(connection)

        return two

    world.driver.handler = with_path  # type: ignore[method-assign]
    try:
        with world.serve() as server, world.peer_of(server) as peer:
            peer.open(path="/chat?a=b")
            server.accept()
    finally:
        world.driver.handler = handler  # type: ignore[method-assign]
    assert paths == ["/chat?a=b"]


@scenario(SERVER)
def logs_each_connection(world: World) -> None:
    """At INFO: the peer and its path, without the query, and how the connection ended."""
    log: list[str] = []
    logger = logging.Logger("life", logging.INFO)
    logger.addHandler(Keeper(log, logging.INFO))
    with world.serve(logger=logger, origins=[None]) as server:
        for path, code in (("/chat?token=secret", 3000), ("/lost", None)):
            with world.peer_of(server) as peer:
                name = "{}:{}".format(*peer.sock.getsockname())
                peer.open(path=path)
                server.accept()
                if code is None:
                    peer.reset()
                else:
                    peer.send_close(code)
                    assert peer.read_close() == code
                    peer.close()
            path = path.partition("?")[0]
            end = "3000 (registered)" if code else "1006 (abnormal closure [internal])"
            closed = f"connection closed: {name} {path}, {end} after 0."
            eventually(lambda closed=closed: any(text.startswith(closed) for text in log))  # type: ignore[misc]
            assert f"connection open: {name} {path}" in log
        with world.peer_of(server) as peer:
            name = "{}:{}".format(*peer.sock.getsockname())
            peer.send(request("Origin: https://example.com", path="/refused"))
            peer.read_to_eof()
        eventually(lambda: f"connection closed: {name} /refused" in log)
        assert f"connection rejected (403 Forbidden): {name} /refused" in log
        with world.peer_of(server) as peer:
            name = "{}:{}".format(*peer.sock.getsockname())
            peer.send(b"nonsense\r\n\r\n")
            peer.read_to_eof()
        eventually(lambda: f"connection closed: {name}" in log)
        assert any(text.startswith(f"opening handshake failed: {name}, did not receive") for text in log)
    assert not any("secret" in text for text in log)


@scenario(SERVER)
def closing_tells_clients_to_go(world: World) -> None:
    """Section 7.4.1: 1001 by default, or the code and reason that are given; handshakes without a request get 503."""
    for options, code, reason in (({}, 1001, b""), ({"code": 1012, "reason": "restart"}, 1012, b"restart")):
        with world.serve() as server, world.peer_of(server) as peer, world.peer_of(server) as slow_peer:
            peer.open()
            ws = server.accept()
            slow_peer.send(request()[:30])
            with Peer.connect(server.address[:2]) as probe:  # all before it have been accepted
                probe.open()
                server.accept()
                closing = server.start_closing(**options)
                frame = peer.read_frame()
                assert (frame.close_code, frame.payload[2:]) == (code, reason)
                assert probe.read_close() == code
                with contextlib.suppress(EOFError, ConnectionError):
                    assert status_of(slow_peer.read_head()) == 503
                peer.send_close(code)
                probe.send_close(code)
                peer.close()
                slow_peer.close()
            server.release()
            closing.result()
            assert ws.state is State.CLOSED
            with expect(OSError):
                Peer.connect(server.address[:2])


@scenario(SERVER)
def closing_lets_opening_handshakes_finish(world: World) -> None:
    """A client whose request is on its way when the server closes is let in, and told to go like the others."""
    for options, code in (({}, 1001), ({"code": 1012}, 1012), ({"close_connections": False}, None)):
        with world.serve() as server, world.peer_of(server) as slow_peer, world.peer_of(server) as probe:
            server.raw.grace = PATIENCE
            slow_peer.send(request()[:30])
            probe.open()  # all before it have been accepted
            server.accept()
            closing = server.start_closing(**options)
            eventually(lambda: not accepts(server.address), "the server stops listening")
            slow_peer.send(request()[30:])
            assert status_of(slow_peer.read_head()) == 101
            ws = server.accept()
            if code is None:
                ws.send("welcome")
                assert slow_peer.read_frame().payload == b"welcome"
                assert not closing.done()
                server.release()
            for peer in (slow_peer, probe):
                assert peer.read_close() == (code or 1000)
                peer.send_close()
                peer.close()
            server.release()  # a handler that returned before the server told its client would have said 1000
            closing.result()


@scenario(SERVER)
def closing_may_leave_connections_alone(world: World) -> None:
    """`close_connections=False` stops listening, and waits for the handlers to end by themselves."""
    with world.serve() as server, world.peer_of(server) as peer:
        peer.open()
        ws = server.accept()
        closing = server.start_closing(close_connections=False)
        eventually(lambda: not accepts(server.address), "the server stops listening")
        ws.send("still here")
        assert peer.read_frame().payload == b"still here"
        assert not closing.done()
        ws.finish()
        assert peer.read_close() == 1000
        peer.send_close()
        peer.close()
        closing.result()


@scenario(SERVER)
def closing_outweighs_what_hooks_say(world: World) -> None:
    """A handshake whose `process_request` or `process_response` runs gets 503, also if the hook refuses or fails."""
    for hook in ("process_request", "process_response"):
        for outcome in ("let in", "refuse", "fail"):
            entered, leave = threading.Event(), concurrent.futures.Future[Response | None]()

            def wait(connection, *heads):  # type: ignore[no-untyped-def]
                entered.set()  # noqa: B023
                return world.driver.wait(leave)  # noqa: B023

            with world.serve(**{hook: wait}) as server, world.peer_of(server) as peer:
                peer.send(request())
                assert entered.wait(PATIENCE)
                closing = server.start_closing()
                eventually(lambda: not accepts(server.address), "the server stops listening")
                if outcome == "fail":
                    leave.set_exception(ValueError("the server closes"))
                else:
                    leave.set_result(None if outcome == "let in" else Response(403, "No", Headers()))
                assert status_of(peer.read_to_eof()) == 503
                peer.close()
                closing.result()


def accepts(address: tuple[str, int]) -> bool:
    with contextlib.suppress(OSError), Peer.connect(address[:2]):
        return True
    return False


@scenario(SERVER)
def broadcast_sends_to_all(world: World) -> None:
    """`broadcast`: text and binary, to those that are open; others are passed over."""
    with world.serve() as server, contextlib.ExitStack() as stack:
        peers, connections = [], []
        for _ in range(5):
            peers.append(stack.enter_context(world.peer_of(server)))
            peers[-1].open()
            connections.append(server.accept())
        peers[0].close()
        connections[0].wait_closed()
        world.broadcast(connections, "é")
        world.broadcast(connections, b"\xff")
        world.broadcast(connections, b"a", text=True)
        for peer in peers[1:]:
            frames = [unmasked(peer.read_frame()) for _ in range(3)]
            assert frames == [RawFrame(TEXT, "é".encode()), RawFrame(BINARY, b"\xff"), RawFrame(TEXT, b"a")]
        for wrong in (5, None, ["a"]):
            with expect(TypeError):
                world.broadcast(connections, wrong)


@scenario(SERVER)
def broadcast_does_not_wait_for_slow_peers(world: World) -> None:
    """One peer that doesn't read keeps the others waiting for nothing, and memory from growing."""
    with world.serve(ping_interval=None) as server, world.peer_of(server) as slow, world.peer_of(server) as quick:
        slow.open()
        first = server.accept()
        quick.open()
        connections = [first, server.accept()]
        for i in range(64):
            world.broadcast(connections, bytes([i]) * (1 << 18))
            assert quick.read_frame().payload == bytes([i]) * (1 << 18)
        assert first.skipped_broadcasts > 0
        slow.reset()


@scenario(SERVER)
def broadcast_does_not_break_into_a_message(world: World) -> None:
    """A connection that sends fragments is passed over with a warning, or an exception if asked for."""
    from concurrent.futures import Future

    with world.link() as (ws, peer):
        steps: list[Future[object]] = [Future(), Future()]
        sending = ws.send_steps(steps)
        steps[0].set_result("a")
        assert peer.read_frame().payload == b"a"
        world.broadcast([ws], "x")
        assert "skipped broadcast: sending a fragmented message" in world.log
        with expect(ExceptionGroup):
            world.broadcast([ws], "x", raise_exceptions=True)
        steps[1].set_result("b")
        assert [peer.read_frame().payload for _ in range(2)] == [b"b", b""]
        sending.result()


@scenario(needs=PAIR)
def many_connections_at_once(world: World) -> None:
    """Connections don't get in each other's way, and are forgotten when they end."""
    count = 50
    with world.serve() as server:
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(world.connect(server.uri)) for _ in range(count)]
            connections = [server.accept() for _ in clients]
            for i, client in enumerate(clients):
                client.send(str(i))
            assert sorted(ws.recv() for ws in connections) == sorted(str(i) for i in range(count))
            assert len(server.raw.connections) == count
            world.broadcast(connections, "hello")
            assert [client.recv() for client in clients] == ["hello"] * count
        for ws in connections:
            with expect(ConnectionClosedOK):
                ws.recv()
        server.release()
        eventually(lambda: not server.raw.connections)
