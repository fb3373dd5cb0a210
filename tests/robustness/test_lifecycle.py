"""How connections end, in every state and from every side, and that nothing is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

import trunkline
from tests.robustness.conftest import serves
from tests.support.loop import run_clean, settled
from tests.support.pair import blocked_send, connect, echo, pair, port_of, raw_pair, serve, start
from tests.support.process import ServerProcess, server_process
from tests.support.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    RawFrame,
    RawPeer,
    accept_handshake,
    close_frame,
    encode_frame,
    in_segments,
    request,
    scripted_server,
)
from trunkline.asyncio.client import ClientConnection
from trunkline.asyncio.server import ServerConnection
from trunkline.exceptions import ConcurrencyError, ConnectionClosed, ConnectionClosedError, ConnectionClosedOK

# --- row 19: closing ---


def test_row19_crossed_closes() -> None:
    async def main() -> None:
        async with pair() as (client, server):
            async with asyncio.timeout(5):
                await asyncio.gather(client.close(4001, "client"), server.close(4002, "server"))
            assert client.state is server.state is trunkline.State.CLOSED
            # Each side sent its own close frame before it received the other's.
            with pytest.raises(ConnectionClosedError) as caught:
                await client.recv()
            assert caught.value.rcvd is not None
            assert caught.value.sent is not None

    run_clean(main)


def test_row19_crossed_closes_on_the_wire() -> None:
    async def main() -> None:
        async with raw_pair() as (peer, server):
            closing = await start(server.close(4002))
            await peer.send(close_frame(4001))
            assert await peer.read_close() == 4002
            assert await peer.read_to_eof() == b""
            peer.close()
            await closing
            assert server.close_code == 4001

    run_clean(main)


def test_row19_close_twice_and_together() -> None:
    async def main() -> None:
        async with pair() as (client, server):
            async with asyncio.timeout(5):
                await asyncio.gather(*(client.close(1000 + n) for n in (0, 1, 2)))
                await client.close(4000)
            assert client.close_code == server.close_code == 1000

    run_clean(main)


def test_row19_close_during_recv() -> None:
    async def main() -> None:
        async with pair() as (client, server):
            receiving = await start(client.recv())
            also_receiving = await start(server.recv())
            await client.close()
            with pytest.raises(ConnectionClosedOK):
                await receiving
            with pytest.raises(ConnectionClosedOK):
                await also_receiving

    run_clean(main)


def test_row19_close_during_send() -> None:
    async def main() -> None:
        async with raw_pair(close_timeout=0.2) as (_, server):
            sending = await blocked_send(server)
            await server.close()
            with pytest.raises(ConnectionClosed):
                await asyncio.wait_for(sending, 5)

    run_clean(main)


def test_row19_cancelled_recv_loses_no_message() -> None:
    async def main() -> None:
        async with pair() as (client, server):
            for n in range(50):
                receiving = await start(client.recv())
                await server.send(str(n))
                for _ in range(n % 7):
                    await asyncio.sleep(0)
                receiving.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await receiving == str(n)
                    continue
                assert await asyncio.wait_for(client.recv(), 5) == str(n)

    run_clean(main)


def test_row19_cancelled_recv_of_a_fragmented_message_loses_nothing() -> None:
    async def main() -> None:
        async with raw_pair() as (peer, server):
            receiving = await start(server.recv())
            await peer.send(encode_frame(TEXT, b"a", fin=False), encode_frame(PING))
            assert (await peer.read_frame()).opcode == PONG
            receiving.cancel()
            with pytest.raises(asyncio.CancelledError):
                await receiving
            await peer.send(encode_frame(CONT, b"b"))
            assert await asyncio.wait_for(server.recv(), 5) == "ab"

    run_clean(main)


def test_row19_cancelled_send_sends_whole_frames_or_none() -> None:
    async def main() -> None:
        async with raw_pair() as (peer, server):
            sending = await blocked_send(server)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            last = asyncio.create_task(server.send("last"))
            while (frame := await peer.read_frame()).opcode == BINARY:
                assert frame.payload == b"x" * 65536
            assert frame == RawFrame(TEXT, b"last")
            await last

    run_clean(main)


def test_row19_cancelled_close_can_be_repeated() -> None:
    async def main() -> None:
        async with raw_pair() as (peer, server):
            closing = await start(server.close(4000))
            closing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await closing
            again = await start(server.close(4001))
            assert await peer.read_close() == 4000
            await peer.send(close_frame(4000))
            await peer.read_to_eof()
            peer.close()
            await asyncio.wait_for(again, 5)
            assert server.state is trunkline.State.CLOSED

    run_clean(main)


def test_row19_close_in_the_finally_of_a_handler() -> None:
    closed = asyncio.Event()

    async def handler(ws: ServerConnection) -> None:
        try:
            await ws.recv()
        finally:
            await ws.close()
            closed.set()

    async def main() -> None:
        async with serve(handler) as server:
            async with connect(server) as ws:
                await ws.close(4000)
            await asyncio.wait_for(closed.wait(), 5)

    run_clean(main)


@pytest.mark.parametrize("operation", ["recv", "send", "ping", "close"])
def test_row19_operations_after_the_end(operation: str) -> None:
    async def main() -> None:
        async with pair() as (client, server):
            await client.close(4000, "bye")
            await server.wait_closed()
            for ws in (client, server):
                if operation == "close":
                    await ws.close()
                    continue
                with pytest.raises(ConnectionClosedError, match="4000"):
                    await (ws.send("late") if operation == "send" else getattr(ws, operation)())

    run_clean(main)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\n",
        request(),
        request() + encode_frame(TEXT, b"hello"),
        request() + encode_frame(TEXT, b"half a message", fin=False),
        request() + encode_frame(TEXT, b"half a frame")[:9],
        request() + close_frame(),
    ],
    ids=["accepted", "half a request", "requested", "open", "half a message", "half a frame", "closing"],
)
@pytest.mark.parametrize("ending", ["reset", "close"])
def test_row19_peer_vanishes_at_each_state(sent: bytes, ending: str, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with serve(echo, close_timeout=1) as server:
            for wait in (False, True):
                async with await RawPeer.connect(port_of(server)) as peer:
                    await peer.send(sent)
                    if wait and sent.startswith(request()):
                        await peer.read_head()
                    getattr(peer, ending)()
            await settled(lambda: not server.connections)
            assert not server.connections
            assert await serves(port_of(server))

    run_clean(main)
    assert not [record for record in caplog.records if record.levelno >= logging.CRITICAL]


@pytest.mark.parametrize("ending", ["reset", "close"])
@pytest.mark.parametrize("operation", ["recv", "send", "ping", "close", "iteration"])
def test_row19_peer_vanishes_during(operation: str, ending: str) -> None:
    async def pong(server: ServerConnection) -> None:
        await (await server.ping())

    async def iterate(server: ServerConnection) -> None:
        async for _ in server:
            pass

    async def main() -> None:
        async with raw_pair() as (peer, server):
            match operation:
                case "send":
                    waiting = await blocked_send(server)
                case "ping":
                    waiting = await start(pong(server))
                case "iteration":
                    waiting = await start(iterate(server))
                case _:
                    waiting = await start(getattr(server, operation)())
            getattr(peer, ending)()
            if operation == "close":
                await asyncio.wait_for(waiting, 5)
            else:
                with pytest.raises(ConnectionClosedError):
                    await asyncio.wait_for(waiting, 5)
            await asyncio.wait_for(server.wait_closed(), 5)
            assert server.close_code == 1006

    run_clean(main)


def test_row19_client_whose_server_vanishes_while_it_closes() -> None:
    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        await peer.read_close()
        peer.reset()

    async def main() -> None:
        async with scripted_server(script) as port, connect(port) as ws:
            await asyncio.wait_for(ws.close(), 5)
            assert ws.state is trunkline.State.CLOSED

    run_clean(main)


@pytest.mark.parametrize("answers", [False, True], ids=["no close frame", "no end of TCP"])
def test_row19_close_timeout_ends_a_peer_that_does_not_close(answers: bool) -> None:
    async def script(peer: RawPeer) -> None:
        await accept_handshake(peer)
        await peer.read_close()
        if answers:
            await peer.send(close_frame(mask=None))
        await peer.read_to_eof()

    async def main() -> None:
        async with scripted_server(script) as port:
            ws = await connect(port, close_timeout=0.2)
            await asyncio.wait_for(ws.close(), 5)
            assert ws.state is trunkline.State.CLOSED
            assert ws.close_code == (1000 if answers else 1006)

    run_clean(main)


# --- row 20: half-open connections ---


class Proxy:
    """Forwards TCP both ways until it is told to stop; then the connection stays open and silent."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.forwarding = asyncio.Event()
        self.forwarding.set()

    async def __call__(self, near: RawPeer) -> None:
        async with await RawPeer.connect(self.target) as far:
            await asyncio.gather(self._copy(near, far), self._copy(far, near))

    async def _copy(self, source: RawPeer, destination: RawPeer) -> None:
        while data := await asyncio.get_running_loop().sock_recv(source.sock, 65536):
            await self.forwarding.wait()
            await destination.send(data)
        destination.sock.shutdown(1)


@pytest.mark.parametrize("side", ["client", "server"])
def test_row20_keepalive_ends_a_half_open_connection(side: str) -> None:
    impatient: dict[str, Any] = {"ping_interval": 0.1, "ping_timeout": 0.1, "close_timeout": 0.1}
    patient: dict[str, Any] = {"ping_interval": None, "close_timeout": 0.1}
    ended: list[Any] = []

    async def handler(ws: ServerConnection) -> None:
        if side == "server":
            with pytest.raises(ConnectionClosedError) as caught:
                await asyncio.wait_for(ws.recv(), 5)
            ended.append(caught.value)
        else:
            await ws.wait_closed()

    async def main() -> None:
        options = impatient if side == "server" else patient
        async with serve(handler, **options) as server:
            proxy = Proxy(port_of(server))
            async with (
                scripted_server(proxy) as port,
                connect(port, **(impatient if side == "client" else patient)) as ws,
            ):
                proxy.forwarding.clear()
                if side == "client":
                    with pytest.raises(ConnectionClosedError) as caught:
                        await asyncio.wait_for(ws.recv(), 5)
                    ended.append(caught.value)
                else:
                    await settled(lambda: bool(ended))

    run_clean(main)
    (error,) = ended
    assert error.rcvd is None
    assert error.sent is not None
    assert (error.sent.code, error.sent.reason) == (1011, "keepalive ping timeout")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_row20_keepalive_leaves_a_living_connection_alone(loop: str) -> None:
    async def main() -> None:
        async with pair(ping_interval=0.001, ping_timeout=5) as (client, server):
            # uvloop's clock ticks once in a millisecond: deadlines are due at once, yet no round trip takes no time.
            assert min([await (await client.ping()) for _ in range(100)]) > 0
            await settled(lambda: client.latency > 0 and server.latency > 0)
            assert min(client.latency, server.latency) > 0
            await client.send("hello")
            assert await server.recv() == "hello"

    run_clean(main, pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else None)


# --- row 34: nothing is left ---


async def connect_and_end(port: int, times: int, *, reset: bool) -> None:
    for _ in range(times):
        peer = await RawPeer.open(port)
        await peer.send(encode_frame(TEXT, b"hello"))
        await peer.read_frame()
        if reset:
            peer.reset()
        else:
            await peer.send(close_frame())
            await peer.read_close()
            peer.close()


def left_over(server: ServerProcess) -> dict[str, float]:
    counts = server.census()
    del counts["cpu"]
    return counts | {"descriptors": server.descriptors()}


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_row34_connections_leave_nothing(echo_server: ServerProcess, reset: bool) -> None:
    asyncio.run(connect_and_end(echo_server.port, 20, reset=reset))
    asyncio.run(settled(lambda: left_over(echo_server)["objects"] == 0))
    before = left_over(echo_server)
    memory = echo_server.rss()
    asyncio.run(connect_and_end(echo_server.port, 1000, reset=reset))
    asyncio.run(settled(lambda: left_over(echo_server) == before))
    assert left_over(echo_server) == before
    assert before["objects"] == before["connections"] == 0
    assert echo_server.rss() - memory < 6 << 20


def test_row34_refused_and_broken_handshakes_leave_nothing(echo_server: ServerProcess) -> None:
    async def bother() -> None:
        for n in range(600):
            peer = await RawPeer.connect(echo_server.port)
            await peer.send([b"", b"GET / HTTP/1.1\r\n", b"nonsense\r\n\r\n"][n % 3])
            peer.reset() if n % 2 else peer.close()

    asyncio.run(settled(lambda: left_over(echo_server)["objects"] == 0))
    before = left_over(echo_server)
    asyncio.run(bother())
    asyncio.run(settled(lambda: left_over(echo_server) == before))
    assert left_over(echo_server) == before


def connection_objects() -> list[object]:
    gc.collect()
    return [thing for thing in gc.get_objects() if isinstance(thing, (ClientConnection, ServerConnection))]


def test_row34_ended_connections_are_freed_on_both_sides() -> None:
    async def main() -> None:
        before = connection_objects()

        def left() -> list[object]:
            return [thing for thing in connection_objects() if not any(thing is known for known in before)]

        async with serve(echo) as server:
            for _ in range(100):
                async with connect(server) as ws:
                    await ws.send("hello")
                    await ws.recv()
            del ws
            await settled(lambda: not left(), turns=50)
            assert not left()

    run_clean(main)


# --- row 35: the server closes ---


def test_row35_server_close_sends_1001_and_refuses_new_connections() -> None:
    async def main() -> None:
        async with serve(echo) as server:
            port = port_of(server)
            async with contextlib.AsyncExitStack() as stack:
                clients = [await stack.enter_async_context(connect(port)) for _ in range(20)]
                server.close()
                await asyncio.wait_for(server.wait_closed(), 5)
                for ws in clients:
                    with pytest.raises(ConnectionClosedOK):
                        await ws.recv()
                    assert ws.close_code == 1001
                with pytest.raises(ConnectionRefusedError):
                    await connect(port)
            assert not server.connections

    run_clean(main)


def test_row35_server_close_waits_close_timeout_at_most() -> None:
    async def main() -> None:
        async with (
            serve(echo, close_timeout=0.2) as server,
            await RawPeer.open(port_of(server)) as silent,
        ):
            server.close()
            await asyncio.wait_for(server.wait_closed(), 5)
            assert await silent.read_close() == 1001

    run_clean(main)


def test_row35_server_close_during_a_handshake() -> None:
    async def main() -> None:
        async with (
            serve(echo, open_timeout=30, close_timeout=1) as server,
            await RawPeer.connect(port_of(server)) as peer,
        ):
            await peer.send(request()[:-2])
            await settled(lambda: False, turns=20)
            server.close()
            await asyncio.wait_for(server.wait_closed(), 5)
            assert await peer.outcome() in (503, None)

    run_clean(main)


def test_row35_server_close_waits_for_handlers() -> None:
    finished = []

    async def handler(ws: ServerConnection) -> None:
        await ws.wait_closed()
        await asyncio.sleep(0.1)
        finished.append(ws)

    async def main() -> None:
        async with serve(handler) as server, connect(server):
            server.close()
            await server.wait_closed()
            assert len(finished) == 1

    run_clean(main)


# --- row 36: concurrency ---


def test_row36_sends_from_threads_keep_frames_whole() -> None:
    senders, each = 8, 50

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with pair(max_queue=None) as (client, server):

            def send_all(sender: int) -> None:
                for n in range(each):
                    message = bytes([sender]) * (1 + 997 * n)
                    asyncio.run_coroutine_threadsafe(client.send(message), loop).result(30)

            received: list[bytes] = []

            async def receive_all() -> None:
                while len(received) < senders * each:
                    message = await server.recv()
                    assert isinstance(message, bytes)
                    received.append(message)

            await asyncio.gather(receive_all(), *(asyncio.to_thread(send_all, n) for n in range(senders)))
        for sender in range(senders):
            own = [message for message in received if message[0] == sender]
            assert own == [bytes([sender]) * (1 + 997 * n) for n in range(each)]

    run_clean(main)


def test_row36_sends_wait_for_a_fragmented_message() -> None:
    async def main() -> None:
        async with raw_pair() as (peer, server):
            more = asyncio.Event()

            async def fragments() -> AsyncIterator[str]:
                yield "a"
                await more.wait()
                yield "b"

            fragmented = await start(server.send(fragments()))
            whole = [await start(server.send(f"whole {n}")) for n in range(3)]
            await server.ping(b"within")
            more.set()
            await asyncio.gather(fragmented, *whole)
            frames = [await peer.read_frame() for _ in range(7)]
            data = [frame for frame in frames if frame.opcode != PING]
            text = b"".join(frame.payload for frame in data)
            assert text == b"abwhole 0whole 1whole 2"
            assert [frame.opcode for frame in data if frame.opcode != CONT] == [TEXT] * 4

    run_clean(main)


def test_row36_receiving_twice_is_an_error() -> None:
    async def main() -> None:
        async with pair() as (client, server):
            receiving = await start(client.recv())
            with pytest.raises(ConcurrencyError):
                await client.recv()
            with pytest.raises(ConcurrencyError):
                async for _ in client.recv_streaming():
                    pass
            await server.send("for the first")
            assert await receiving == "for the first"

    run_clean(main)


# --- handlers that fail ---


def test_handler_that_raises_closes_with_1011_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(ws: ServerConnection) -> None:
        await ws.recv()
        raise ValueError("the handler is broken")

    async def main() -> None:
        async with (
            serve(handler) as server,
            await RawPeer.open(port_of(server)) as peer,
        ):
            await peer.send(encode_frame(TEXT, b"hello"))
            frame = await peer.read_frame()
            assert frame.opcode == CLOSE
            assert frame.close_code == 1011
            assert b"broken" not in frame.payload
            await peer.send(close_frame(1011))
            await peer.read_to_eof()

    run_clean(main)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == ["connection handler failed"]
    assert errors[0].exc_info is not None
    assert isinstance(errors[0].exc_info[1], ValueError)


def test_handler_that_raises_leaves_the_server_running() -> None:
    async def main(port: int) -> None:
        for _ in range(200):
            async with await RawPeer.open(port) as peer:
                await peer.send(*in_segments(encode_frame(TEXT, b"hello"), 3))
                assert await peer.read_close() == 1011

    with server_process("crash") as server:
        asyncio.run(main(server.port))
        asyncio.run(settled(lambda: left_over(server)["objects"] == 0))
        assert left_over(server)["objects"] == 0
        assert server.log().count("connection handler failed") == 200
