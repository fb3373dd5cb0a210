"""A connection on trio: checkpoints, cancellation, deadlines, back-pressure. The suite has what all drivers do."""

from __future__ import annotations

import contextlib
import inspect
import logging
from typing import Any

import pytest
import trio
import trio.testing
import websockets.trio.connection
from trio.testing import assert_checkpoints

from tests.trio.support import connecting, echo, memory_link, run, serving
from trunkline import PreparedMessage
from trunkline.core.session import Side, State
from trunkline.exceptions import (
    ConcurrencyError,
    ConnectionClosed,
    ConnectionClosedError,
    ConnectionClosedOK,
    ProtocolError,
)
from trunkline.options import Options
from trunkline.testing.wire import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawFrame
from trunkline.trio.connection import Connection, broadcast


@pytest.mark.parametrize(
    "name", [name for name in vars(websockets.trio.connection.Connection) if not name.startswith("_")]
)
def test_every_documented_member_is_there(name: str) -> None:
    internal = {
        *("process_event", "acknowledge_pings", "acknowledge_pending_pings", "keepalive", "start_keepalive"),
        *("recv_events", "pause_reading", "resume_reading", "send_context", "send_data", "close_exc"),
        *("set_connection_exc", "close_stream"),
    }
    assert name in internal or hasattr(Connection, name)


@pytest.mark.parametrize("name", ["recv", "recv_streaming", "send", "aclose", "wait_closed", "ping", "pong"])
def test_parameters_are_those_of_websockets(name: str) -> None:
    theirs = inspect.signature(getattr(websockets.trio.connection.Connection, name)).parameters
    ours = inspect.signature(getattr(Connection, name)).parameters
    for parameter in theirs.values():
        assert ours[parameter.name].default == parameter.default
        assert ours[parameter.name].kind == parameter.kind


# Checkpoints


def test_every_call_is_a_checkpoint_also_when_it_need_not_wait() -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer):
            for _ in range(4):
                await peer.send_frame(TEXT, b"1")
            await trio.testing.wait_all_tasks_blocked()
            with assert_checkpoints():
                assert await ws.recv() == "1"
            with assert_checkpoints():
                assert await anext(ws) == "1"
            with assert_checkpoints():
                assert [fragment async for fragment in ws.recv_streaming()] == ["1"]
            with assert_checkpoints():
                assert await ws.recv_json() == 1
            for call in (lambda: ws.send("a"), lambda: ws.send(["a", "b"]), lambda: ws.send_json(1)):
                with assert_checkpoints():
                    await call()
            with assert_checkpoints():
                await ws.ping()
            with assert_checkpoints():
                await ws.pong()
            with assert_checkpoints():
                await broadcast([ws], "a")
            ws.abort()
            await ws.wait_closed()
            with assert_checkpoints():
                await ws.wait_closed()
            with assert_checkpoints():
                await ws.aclose()
            with assert_checkpoints(), pytest.raises(ConnectionClosed):
                await ws.recv()
            with assert_checkpoints(), pytest.raises(ConnectionClosed):
                await ws.send("a")

    run(main)


def test_what_is_cancelled_before_it_began_has_done_nothing() -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer):
            await peer.send_frame(TEXT, b"a")
            await trio.testing.wait_all_tasks_blocked()
            for call in (ws.recv, lambda: ws.send("no"), ws.ping, ws.pong, lambda: broadcast([ws], "no")):
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await call()
                assert scope.cancelled_caught
            assert await ws.recv() == "a"
            await ws.send("yes")
            assert await peer.read_frame() == RawFrame(TEXT, b"yes")

    run(main)


def test_a_message_that_came_with_the_cancellation_is_not_lost() -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer):
            received: list[Any] = []
            for i in range(50):
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:

                        async def receive() -> None:
                            received.append(await ws.recv())

                        nursery.start_soon(receive)
                        await trio.testing.wait_all_tasks_blocked()
                        nursery.start_soon(peer.send_frame, TEXT, b"%d" % i)
                        await trio.lowlevel.checkpoint()
                        if i % 2:
                            await trio.lowlevel.checkpoint()
                        scope.cancel()
                with trio.move_on_after(0.1):
                    if len(received) == i:
                        received.append(await ws.recv())
                while len(received) == i:  # it was the sending that was cancelled
                    await peer.send_frame(TEXT, b"%d" % i)
                    received.append(await ws.recv())
            assert received == [str(i) for i in range(50)]

    run(main)


def test_cancelled_send_that_waits_leaves_its_message_whole() -> None:
    async def main() -> None:
        async with memory_link(write_limit=0) as (ws, peer):
            with trio.move_on_after(0.05):
                for _ in range(3):
                    await ws.send(b"x" * 1000)
            await ws.send("after")
            frames = [await peer.read_frame()]
            while frames[-1].payload != b"after":
                frames.append(await peer.read_frame())
            assert all(frame.payload == b"x" * 1000 for frame in frames[:-1])

    run(main)


# Ends


def test_cancelled_aclose_closes_by_force() -> None:
    """The rule of `trio.abc.AsyncResource.aclose`."""

    async def main() -> None:
        ended = trio.Event()

        async def handler(ws: Any) -> None:
            await echo(ws)
            assert ws.close_code == 1001
            ended.set()

        async with serving(handler) as server, connecting(server) as ws:
            with trio.CancelScope() as scope:
                scope.cancel()
                await ws.aclose(1001)
            assert scope.cancelled_caught
            assert ws.state is State.CLOSED
            await ended.wait()

    run(main)


def test_cancelled_tasks_of_the_connection_end_it() -> None:
    async def main() -> None:
        async with memory_link() as (ws, _):
            pass
        assert ws.state is State.CLOSED
        with pytest.raises(ConnectionClosedError):
            await ws.recv()

    run(main)


def test_leaving_the_context_with_an_exception_closes_with_1011() -> None:
    async def main() -> None:
        async with memory_link(close_timeout=1) as (ws, peer):
            with pytest.raises(KeyError):
                async with ws:
                    raise KeyError
            assert (await peer.read_frame()).close_code == 1011

    run(main, fake_clock=True)


def test_no_answer_to_the_close_frame() -> None:
    async def main() -> None:
        async with memory_link(close_timeout=7) as (ws, peer):
            start = trio.current_time()
            await ws.aclose()
            assert trio.current_time() - start == pytest.approx(7)
            assert (await peer.read_frame()).opcode == CLOSE
            assert ws.close_code == 1006

    run(main, fake_clock=True)


def test_iteration_ends_with_the_close_frame_before_the_stream_does() -> None:
    async def main() -> None:
        async with memory_link(Side.CLIENT) as (ws, peer):
            await peer.send_frame(TEXT, b"a")
            await peer.send_frame(CLOSE, b"\x03\xe8")
            assert [message async for message in ws] == ["a"]
            assert ws.state is State.CLOSING

    run(main)


# Deadlines


@pytest.mark.parametrize("side", Side)
def test_keepalive(side: Side) -> None:
    async def main() -> None:
        async with memory_link(side, ping_interval=20, ping_timeout=5) as (ws, peer):
            start = trio.current_time()
            for n in range(1, 4):
                ping = await peer.read_frame()
                assert ping.opcode == PING
                assert trio.current_time() - start == pytest.approx(20 * n)
                await peer.send_frame(PONG, ping.payload)
            assert (await peer.read_frame()).opcode == PING
            closing = await peer.read_frame()
            assert trio.current_time() - start == pytest.approx(85)
            assert closing == RawFrame(CLOSE, b"\x03\xf3keepalive ping timeout")
            with pytest.raises(ConnectionClosedError, match="keepalive ping timeout"):
                await ws.recv()

    run(main, fake_clock=True)


def test_latency_is_measured_by_the_clock_of_trio() -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer):
            answered = await ws.ping(b"a")
            await trio.sleep(3)
            assert not answered.is_set()
            await peer.send_frame(PONG, b"a")
            await answered.wait()
            assert ws.latency == pytest.approx(3)

    run(main, fake_clock=True)


@pytest.mark.parametrize("ack_on_close", [False, True])
def test_pings_at_the_end_of_the_connection(ack_on_close: bool) -> None:
    async def main() -> None:
        async with memory_link() as (ws, _):
            answered = await ws.ping(ack_on_close=ack_on_close)
            ws.abort()
            await ws.wait_closed()
            assert answered.is_set() is ack_on_close

    run(main)


def test_ping_with_the_same_data() -> None:
    async def main() -> None:
        async with memory_link() as (ws, _):
            await ws.ping("a")
            with pytest.raises(ConcurrencyError):
                await ws.ping(b"a")
            with pytest.raises(ProtocolError, match="125"):
                await ws.ping(bytes(126))

    run(main)


# Back-pressure


def test_reading_stops_at_the_high_water_mark() -> None:
    async def main() -> None:
        async with memory_link(max_queue=(4, 1)) as (ws, peer):
            for i in range(20):
                await peer.send_frame(TEXT, b"%d" % i)
                await trio.testing.wait_all_tasks_blocked()
            assert len(ws.session.inbox) == 5
            for i in range(20):
                assert await ws.recv() == str(i)

    run(main)


def test_send_waits_above_the_write_limit() -> None:
    async def main() -> None:
        ours, theirs = trio.socket.socketpair()
        async with trio.open_nursery() as nursery:
            ws = Connection(
                nursery, trio.SocketStream(ours), Side.SERVER, Options(ping_interval=None, write_limit=5000)
            )
            ws.start(None, [], b"")
            sent = 0

            async def pour() -> None:
                nonlocal sent
                while sent < 2004 * 10_000:
                    sent += 2004
                    await ws.send(b"x" * 2000)

            nursery.start_soon(pour)
            await trio.testing.wait_all_tasks_blocked()
            assert 5000 < ws.carrier.backlog() <= 5000 + 2004
            peer, received = trio.SocketStream(theirs), 0
            while received < 2004 * 10_000:
                received += len(await peer.receive_some())
            await peer.aclose()
            nursery.cancel_scope.cancel()

    run(main)


@pytest.mark.parametrize("how", ["send", "ping", "pong"])
def test_what_only_a_task_can_write_has_left_when_a_call_returns(how: str) -> None:
    async def main() -> None:
        ours, theirs = trio.testing.lockstep_stream_pair()  # takes nothing that is not read
        async with trio.open_nursery() as nursery:
            ws = Connection(nursery, ours, Side.SERVER, Options(ping_interval=None))
            ws.start(None, [], b"")
            with trio.move_on_after(1) as patience:
                await getattr(ws, how)(b"a")
            assert patience.cancelled_caught

            async def read() -> None:
                while True:
                    await theirs.receive_some()

            nursery.start_soon(read)
            await ws.send("b")
            assert ws.carrier.backlog() == 0
            nursery.cancel_scope.cancel()

    run(main, fake_clock=True)


def test_broadcast_passes_over_who_sends_fragments_or_is_too_far_behind(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer), memory_link() as (other, other_peer):
            more = trio.Event()

            async def fragments() -> Any:
                yield "a"
                await more.wait()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ws.send, fragments())
                await trio.testing.wait_all_tasks_blocked()
                await broadcast([ws, other], PreparedMessage("x"))
                with pytest.raises(ExceptionGroup):
                    await broadcast([ws], "x", raise_exceptions=True)
                more.set()
            assert (await other_peer.read_frame()).payload == b"x"
            assert [(await peer.read_frame()).opcode for _ in range(2)] == [TEXT, CONT]

    with caplog.at_level(logging.WARNING):
        run(main)
    assert [record.getMessage() for record in caplog.records] == ["skipped broadcast: sending a fragmented message"]


# Messages, where trio's own kinds matter


def test_asynchronous_iterables_in_fragments() -> None:
    async def fragments() -> Any:
        for fragment in (b"a", b"b"):
            await trio.lowlevel.checkpoint()
            yield fragment

    async def main() -> None:
        async with memory_link() as (ws, peer):
            await ws.send(fragments())
            assert [await peer.read_frame() for _ in range(3)] == [
                RawFrame(BINARY, b"a", False),
                RawFrame(CONT, b"b", False),
                RawFrame(CONT, b""),
            ]

    run(main)


def test_receiving_twice_at_once() -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer), trio.open_nursery() as nursery:
            nursery.start_soon(ws.recv)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(ConcurrencyError):
                await ws.recv()
            await peer.send_frame(TEXT, b"a")

    run(main)


def test_attributes() -> None:
    async def main() -> None:
        async with serving(echo) as server, connecting(server, "/a?b") as client:
            await client.send("a")
            await client.recv()
            (ws,) = server.connections
            assert client.remote_address == ws.local_address
            assert client.local_address == ws.remote_address
            assert isinstance(ws.stream, trio.SocketStream)
            assert (ws.path, client.path) == ("/a?b", "/a?b")
            assert ws.request.headers["Host"] == client.request.headers["Host"]
            assert client.response.status_code == 101
            assert (client.subprotocol, client.close_code, client.close_reason) == (None, None, None)
            assert client.open
            assert str(client.id) != str(ws.id)
            assert client.logger.extra["websocket"].id == client.id
            await client.aclose(4000, "bye")
            assert (client.close_code, client.close_reason) == (4000, "bye")
            assert client.closed
            assert client.remote_address is not None

    run(main)


async def send_for_ever(ws: Connection) -> None:
    while True:
        await ws.send("a")


def test_closed_by_the_peer_between_two_sends() -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer):
            await peer.send_frame(CLOSE, b"\x03\xe8")
            await peer.stream.aclose()
            with pytest.raises(ConnectionClosedOK):
                await send_for_ever(ws)

    run(main)


async def cut_connection() -> Connection:
    """An open connection whose peer is gone, which it doesn't know yet."""
    ours, theirs = trio.socket.socketpair()
    connection = Connection(None, trio.SocketStream(ours), Side.SERVER, Options(ping_interval=None))
    connection.start(None, [], b"")
    await trio.testing.wait_all_tasks_blocked()
    theirs.close()
    return connection


@pytest.mark.parametrize(
    "call",
    [
        lambda ws: ws.send("a"),
        lambda ws: ws.send(["a", "b"]),
        lambda ws: ws.ping(),
        lambda ws: ws.pong(),
    ],
)
def test_what_cannot_be_written_raises(call: Any) -> None:
    async def main() -> None:
        ws = await cut_connection()
        with pytest.raises(ConnectionClosedError) as caught:
            await call(ws)
        assert isinstance(caught.value.__cause__, BrokenPipeError)

    run(main)


def test_broadcast_tells_what_could_not_be_written(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await broadcast([await cut_connection()], "a")
        with pytest.raises(ExceptionGroup) as caught:
            await broadcast([await cut_connection()], "a", raise_exceptions=True)
        (error,) = caught.value.exceptions
        assert isinstance(error, RuntimeError)
        assert str(error) == "failed to write message"
        assert isinstance(error.__cause__, BrokenPipeError)

    run(main)
    assert caplog.messages == ["skipped broadcast: failed to write message: BrokenPipeError: [Errno 32] Broken pipe"]


def test_closing_what_gives_the_messages_closes_no_connection() -> None:
    async def main() -> None:
        async with memory_link() as (ws, peer):
            await peer.send_frame(TEXT, b"a")
            async with contextlib.aclosing(aiter(ws)) as messages:
                assert await anext(messages) == "a"
            with pytest.raises(StopAsyncIteration):
                await anext(messages)
            assert ws.state is State.OPEN

    run(main)
