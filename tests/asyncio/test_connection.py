"""A connection and its transport: prompt sends, fairness, back-pressure in both directions, ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import logging
import threading
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from tests.core.wire import peer_frame, sent
from tests.support.memory import LOOPS, MemoryTransport, arrive, connected, frames, run_on
from tests.support.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, RawFrame
from trunkline.asyncio.connection import Connection, broadcast
from trunkline.core.session import Side, State
from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import ConcurrencyError, ConnectionClosedError, ConnectionClosedOK
from trunkline.extensions import Extension
from trunkline.frames import Frame

MOST_WAITING = 1 << 16
BUDGET = 1024
BROADCAST_BACKLOG = 1 << 20

Test = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Runs a test's coroutine on each kind of event loop."""
    return lambda main: run_on(request.param, main)


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def started(coroutine: Any) -> asyncio.Task[Any]:
    """A task that waits."""
    task = asyncio.create_task(coroutine)
    await turns()
    assert not task.done()
    return task


async def echo(ws: Connection) -> None:
    async for message in ws:
        await ws.send(message)


def texts(transport: MemoryTransport) -> list[str]:
    return [frame.payload.decode() for frame in transport.take()]


# When a send returns, its bytes have left


async def _fragments() -> AsyncIterator[str]:
    yield "a"
    yield "b"


WAYS_TO_SEND: dict[str, Callable[[Connection], Any]] = {
    "send": lambda ws: ws.send("a"),
    "send in fragments": lambda ws: ws.send(_fragments()),
    "send_json": lambda ws: ws.send_json([1]),
    "send_nowait": lambda ws: ws.send_nowait(PreparedMessage("a")),
    "broadcast": lambda ws: broadcast([ws], "a"),
    "ping": lambda ws: ws.ping(b"p"),
    "pong": lambda ws: ws.pong(b"p"),
    "start_closing": lambda ws: ws.start_closing(1000, ""),
}
each_way_to_send = pytest.mark.parametrize("send", WAYS_TO_SEND.values(), ids=WAYS_TO_SEND)


async def send_one(send: Callable[[Connection], Any], ws: Connection) -> None:
    result = send(ws)
    if inspect.isawaitable(result):
        await result


@each_way_to_send
def test_each_message_leaves_at_once(run: Callable[[Test], None], send: Callable[[Connection], Any]) -> None:
    async def main() -> None:
        ws, transport = connected()
        await send_one(send, ws)
        assert transport.take() != []

    run(main)


@each_way_to_send
def test_each_answer_leaves_at_once(run: Callable[[Test], None], send: Callable[[Connection], Any]) -> None:
    async def main() -> None:
        ws, transport = connected()
        left: list[int] = []

        async def answer() -> None:
            async for _ in ws:
                await send_one(send, ws)
                left.append(len(transport.take()))

        task = await started(answer())
        await arrive(ws, frames(ws, "1", "2") + peer_frame(ws.session, PONG, b"p"))
        assert left[0] > 0
        task.cancel()
        await turns()

    run(main)


def test_pongs_and_close_frames_wait_for_no_task(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        pairs = [connected() for _ in range(3)]
        left: list[list[int]] = []

        async def note(ws: Connection) -> None:
            await ws.recv()
            left.append([frame.opcode for _, transport in pairs for frame in transport.take()])

        for ws, _ in pairs:
            await started(note(ws))
        loop = asyncio.get_running_loop()
        for (ws, _), opcode in zip(pairs, (PING, CLOSE, PING), strict=True):
            loop.call_soon(ws.data_received, frames(ws, "a") + peer_frame(ws.session, opcode, b""))
        await turns()
        assert left[0] == [PONG, CLOSE, PONG]

    run(main)


def test_all_is_received_before_the_first_task_is_woken(run: Callable[[Test], None]) -> None:
    """And what each of them sends leaves before the next one is woken."""

    async def main() -> None:
        pairs = [connected() for _ in range(3)]
        events: list[Any] = []

        async def answer(ws: Connection, transport: MemoryTransport) -> None:
            async for _ in ws:
                await ws.send("answer")
                events.append(texts(transport))

        tasks = [await started(answer(ws, transport)) for ws, transport in pairs]
        loop = asyncio.get_running_loop()
        for ws, _ in pairs:
            loop.call_soon(ws.data_received, frames(ws, "a"))
            loop.call_soon(events.append, "received")
        await turns(4)
        assert events == ["received"] * 3 + [["answer"]] * 3
        for task in tasks:
            task.cancel()
        await turns()

    run(main)


def test_a_task_that_ends_another_connection_before_its_task_is_woken(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        (ws, _), (other, _) = connected(), connected()
        events: list[str] = []

        async def end_the_other() -> None:
            events.append(str(await ws.recv()))
            other.connection_lost(None)

        async def receive() -> None:
            events.append(str(await other.recv()))
            with pytest.raises(ConnectionClosedError):
                await other.recv()

        tasks = [await started(end_the_other()), await started(receive())]
        for connection in (ws, other):
            asyncio.get_running_loop().call_soon(connection.data_received, frames(connection, "a"))
        await asyncio.gather(*tasks)
        assert events == ["a", "a"]  # what had come is received all the same

    run(main)


class Stuck(MemoryTransport):
    """A transport that fails."""

    def pause_reading(self) -> None:
        raise RuntimeError("this transport fails")


def test_a_connection_that_fails_harms_no_other() -> None:
    async def main() -> None:
        errors: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: errors.append(context["exception"]))
        (broken, transport), (ws, _) = connected(transport=Stuck(), max_queue=1), connected()
        task = await started(ws.recv())
        loop.call_soon(broken.data_received, frames(broken, "1", "2", "3"))
        loop.call_soon(ws.data_received, frames(ws, "a"))
        assert await task == "a"
        assert [str(error) for error in errors] == ["this transport fails"]
        assert transport.aborted

    asyncio.run(main())


# The exception: batches of a peer whose batches were quick


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interpreted code is not as quick as the constants ask for."""
    monkeypatch.setattr("trunkline.asyncio.connection.QUICK", 1.0, raising=False)


async def trusted(ws: Connection, transport: MemoryTransport) -> None:
    """Send quick batches until the answers to one leave in one write; a busy machine may be slow for some."""
    for _ in range(10_000):
        transport.take()
        await arrive(ws, frames(ws, *"abcd"))
        if len(transport.batches) == 1:
            transport.take()
            return
    raise AssertionError("answers never wait for each other")


def test_answers_to_quick_batches_leave_in_one_write(patient: None) -> None:
    async def main() -> None:
        ws, transport = connected()
        task = await started(echo(ws))
        for _ in range(4):
            await arrive(ws, frames(ws, *"abcd"))
            assert len(transport.batches) == 4
            assert texts(transport) == list("abcd")
        await trusted(ws, transport)
        task.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("how", ["send", "send_nowait", "broadcast"])
def test_much_leaves_before_the_batch_ends(patient: None, how: str) -> None:
    async def main() -> None:
        ws, transport = connected(max_size=None)
        written: list[int] = []

        async def answer() -> None:
            async for message in ws:
                size = MOST_WAITING // 2 if message == "much" else 1
                if how == "send":
                    await ws.send(bytes(size))
                elif how == "send_nowait":
                    assert ws.send_nowait(PreparedMessage(bytes(size)))
                else:
                    broadcast([ws], bytes(size))
                written.append(len(transport.batches))

        task = await started(answer())
        for _ in range(10_000):  # as in `trusted`
            await trusted(ws, transport)
            written.clear()
            await arrive(ws, frames(ws, "much", "much", "much", "end"))
            if written[0] == 0:
                break
        assert written[:3] == [0, 1, 1]
        task.cancel()

    asyncio.run(main())


def test_a_task_that_is_slow_once_must_be_quick_again(patient: None, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        ws, transport = connected()
        left: list[int] = []

        async def answer() -> None:
            async for message in ws:
                if message == "block":
                    time.sleep(0.01)  # longer than any frame may wait
                await ws.send(message)
                left.append(len(transport.take()))

        task = await started(answer())
        for _ in range(10_000):
            left.clear()
            await arrive(ws, frames(ws, *"abcd"))
            if left != [0, 0, 0, 4]:
                continue
            left.clear()
            await arrive(ws, frames(ws, "a", "block", "b", "c", "d"))
            if left[0] == 0:
                break
        assert left == [
            0,
            2,
            1,
            1,
            1,
        ]  # the send that found an older frame wrote it, and those behind it waited no more
        left.clear()
        monkeypatch.setattr("trunkline.asyncio.connection.QUICK", 0.001, raising=False)
        await arrive(ws, frames(ws, *"abcd"))
        assert left == [1, 1, 1, 1]
        task.cancel()

    asyncio.run(main())


@pytest.mark.parametrize("control", ["ping", "pong"])
def test_control_frames_wait_for_no_message(patient: None, control: str) -> None:
    async def main() -> None:
        ws, transport = connected()

        async def answer() -> None:
            async for message in ws:
                await ws.send(message)
                if message == control:
                    await getattr(ws, control)(b"now")
                    left.append([frame.payload for frame in transport.take()])

        left: list[list[bytes]] = []
        task = await started(answer())
        await trusted(ws, transport)
        await arrive(ws, frames(ws, control, "a", "b"))
        assert left == [[control.encode(), b"now"]]
        task.cancel()

    asyncio.run(main())


# Fairness


def test_a_task_that_always_finds_messages_lets_others_run(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected(max_queue=None)
        await arrive(ws, frames(ws, *["a"] * (4 * BUDGET)))
        turns_of_others = 0

        async def count() -> None:
            nonlocal turns_of_others
            while True:
                await asyncio.sleep(0)
                turns_of_others += 1

        task = asyncio.create_task(count())
        for _ in range(4 * BUDGET):
            assert await ws.recv() == "a"
        assert turns_of_others >= 2
        task.cancel()

    run(main)


def test_a_task_that_always_can_send_lets_others_run(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        ran = asyncio.Event()
        asyncio.get_running_loop().call_soon(ran.set)
        for _ in range(BUDGET + 1):
            await ws.send("a")
        assert ran.is_set()

    run(main)


# Back-pressure of the application


def test_reading_stops_above_the_high_water_mark_and_goes_on_at_the_low_one(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(max_queue=(4, 1))
        await arrive(ws, frames(ws, "0", "1", "2", "3"))
        assert transport.reading
        await arrive(ws, frames(ws, "4"))
        assert not transport.reading
        await arrive(ws, frames(ws, "5"))  # a transport may deliver what it had read before
        for i in range(4):
            assert await ws.recv() == str(i)
            assert not transport.reading
        assert await ws.recv() == "4"
        assert transport.reading
        await arrive(ws, frames(ws, "6", "7", "8", "9"))
        assert not transport.reading

    run(main)


def test_a_task_that_waits_keeps_reading_going(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(max_queue=(2, 0))
        task = await started(echo(ws))
        for _ in range(10):
            await arrive(ws, frames(ws, "0", "1", "2", "3", "4"))
            assert transport.reading
        task.cancel()

    run(main)


def test_fragments_of_a_message_in_progress_do_not_fill_the_queue_of_who_waits(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(max_queue=(4, 1))
        task = await started(ws.recv())
        await arrive(ws, peer_frame(ws.session, BINARY, b"a", fin=False))
        for _ in range(20):
            await arrive(ws, peer_frame(ws.session, CONT, b"a", fin=False))
            assert transport.reading
        await arrive(ws, peer_frame(ws.session, CONT, b"a"))
        assert await task == b"a" * 22

    run(main)


def test_recv_reads_on_when_reading_stopped_in_the_middle_of_a_message(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(max_queue=(4, 1))
        stream = peer_frame(ws.session, BINARY, b"a", fin=False) + peer_frame(ws.session, CONT, b"a", fin=False) * 9
        await arrive(ws, stream)
        assert not transport.reading
        task = await started(ws.recv())
        assert transport.reading
        await arrive(ws, peer_frame(ws.session, CONT, b"a"))
        assert await task == b"a" * 11

    run(main)


def test_closing_reads_to_the_close_frame_behind_messages_that_nobody_reads(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(max_queue=1)
        await arrive(ws, frames(ws, "a", "b"))
        assert not transport.reading
        task = await started(ws.close())
        assert transport.reading
        await arrive(ws, frames(ws, *"cdefgh"))
        assert transport.reading
        await arrive(ws, peer_frame(ws.session, CLOSE, b"\x03\xe8"))
        assert transport.ended
        ws.connection_lost(None)
        await task
        assert [await ws.recv(), await ws.recv()] == ["a", "b"]
        with pytest.raises(ConnectionClosedOK):
            await ws.recv()

    run(main)


# Back-pressure of the peer


def test_write_limit_reaches_the_transport() -> None:
    async def main() -> None:
        assert connected(write_limit=1000)[1].limits == (1000, 250)
        assert connected(write_limit=(1000, 10))[1].limits == (1000, 10)

    asyncio.run(main())


def test_send_waits_while_the_peer_does_not_read(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        ws.pause_writing()
        tasks = [await started(ws.send(message)) for message in ("a", "b")]
        assert texts(transport) == ["a", "b"]
        ws.resume_writing()
        await asyncio.gather(*tasks)
        await ws.send("c")

    run(main)


def test_pings_of_a_peer_that_does_not_read_cost_nothing(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        ws.pause_writing()
        await arrive(ws, b"".join(peer_frame(ws.session, PING, b"%d" % i) for i in range(1000)))
        assert transport.batches == []
        ws.resume_writing()
        assert transport.take() == [RawFrame(PONG, b"999")]

    run(main)


# Threads


def test_sending_from_another_thread(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        loop = asyncio.get_running_loop()
        failures: list[BaseException] = []

        def work(name: str) -> None:
            try:
                for i in range(20):
                    asyncio.run_coroutine_threadsafe(ws.send(f"{name}{i}"), loop).result(10)  # type: ignore[arg-type]
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            await asyncio.sleep(0.001)
        assert failures == []
        assert sorted(texts(transport)) == sorted(f"{name}{i}" for name in "abc" for i in range(20))

    run(main)


def test_receiving_in_another_thread(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        loop = asyncio.get_running_loop()
        receiving = asyncio.create_task(
            asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(ws.recv(), loop).result(10))  # type: ignore[arg-type]
        )
        while ws.receiver is None:
            await asyncio.sleep(0.001)
        await arrive(ws, frames(ws, "a"))
        assert await receiving == "a"

    run(main)


# Broadcast


def test_send_nowait_takes_what_the_peer_keeps_up_with(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        calls: list[str] = []
        ws.on_writable = lambda: calls.append("writable")
        assert ws.send_nowait(PreparedMessage("a"))
        assert texts(transport) == ["a"]
        ws.pause_writing()
        assert not ws.send_nowait(PreparedMessage("b"))
        assert transport.take() == []
        ws.resume_writing()
        assert calls == ["writable"]
        assert ws.send_nowait(PreparedMessage("c"))
        assert texts(transport) == ["c"]
        ws.start_closing(1000, "")
        assert not ws.send_nowait(PreparedMessage("d"))
        assert [frame.opcode for frame in transport.take()] == [CLOSE]

    run(main)


@pytest.mark.parametrize("end", ["close frame", "end of stream", "lost", "we close"])
def test_on_closing_is_called_once_also_before_messages_were_received(run: Callable[[Test], None], end: str) -> None:
    async def main() -> None:
        ws, _ = connected()
        states: list[State] = []
        ws.on_closing = lambda: states.append(ws.state)
        await arrive(ws, frames(ws, "a"))
        assert states == []
        if end == "close frame":
            await arrive(ws, peer_frame(ws.session, CLOSE, b"\x03\xe8"))
        elif end == "end of stream":
            ws.eof_received()
            await turns()
        elif end == "we close":
            ws.start_closing(1000, "")
        if end != "lost":
            assert len(states) == 1
        ws.connection_lost(None)
        assert len(states) == 1
        assert states[0] is not State.OPEN
        assert await ws.recv() == "a"

    run(main)


def test_send_nowait_never_breaks_into_a_fragmented_message(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()

        async def fragments() -> AsyncIterator[str]:
            yield "one"
            await asyncio.Event().wait()

        sending = await started(ws.send(fragments()))
        assert texts(transport) == ["one"]
        assert not ws.send_nowait(PreparedMessage("between"))
        sending.cancel()
        await turns()

    run(main)


def test_send_nowait_is_told_that_a_fragmented_message_has_ended(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        last = asyncio.Event()

        async def fragments() -> AsyncIterator[str]:
            yield "one"
            await last.wait()

        sending = await started(ws.send(fragments()))
        ws.on_writable = lambda: sent.append(ws.send_nowait(PreparedMessage("behind")))
        sent: list[bool] = []
        ws.pause_writing()
        ws.resume_writing()
        assert sent == [False]
        last.set()
        await sending
        assert sent == [False, True]
        assert texts(transport) == ["one", "", "behind"]

    run(main)


def test_broadcast_waits_for_nobody(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        servers = [connected() for _ in range(3)]
        servers[1][0].pause_writing()
        broadcast([ws for ws, _ in servers], "é")
        broadcast([ws for ws, _ in servers], PreparedMessage(b"\xff"))
        for _, transport in servers:
            assert transport.take() == [RawFrame(TEXT, "é".encode()), RawFrame(BINARY, b"\xff")]

    run(main)


def test_broadcast_passes_over_who_is_too_far_behind(
    run: Callable[[Test], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        ws, transport = connected()
        other, other_transport = connected()
        transport.backlog = BROADCAST_BACKLOG + 1
        ws.pause_writing()
        broadcast([ws, other], "a")
        assert (ws.skipped_broadcasts, other.skipped_broadcasts) == (1, 0)
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            "skipped broadcast: the peer reads too slowly"
        ]
        with pytest.raises(ExceptionGroup) as caught:
            broadcast([ws, other], "b", raise_exceptions=True)
        assert [type(error) for error in caught.value.exceptions] == [ConcurrencyError]
        transport.backlog = BROADCAST_BACKLOG
        broadcast([ws, other], "c")
        assert texts(transport) == ["c"]
        assert texts(other_transport) == ["a", "b", "c"]
        assert ws.skipped_broadcasts == 2

    run(main)


def test_broadcast_does_not_break_into_a_fragmented_message(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        more = asyncio.Event()

        async def fragments() -> AsyncIterator[str]:
            yield "a"
            await more.wait()
            yield "b"

        task = await started(ws.send(fragments()))
        with pytest.raises(ExceptionGroup) as caught:
            broadcast([ws], "x", raise_exceptions=True)
        assert "fragmented" in str(caught.value.exceptions[0])
        more.set()
        await task
        assert transport.take() == [
            RawFrame(TEXT, b"a", False),
            RawFrame(CONT, b"b", False),
            RawFrame(CONT, b""),
        ]

    run(main)


def test_broadcast_passes_over_connections_that_are_not_open(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        ws.connection_lost(None)
        broadcast([ws], "a", raise_exceptions=True)
        assert transport.take() == []

    run(main)


def test_a_broadcast_from_within_a_delivery_leaves_everywhere(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        other, other_transport = connected()

        async def relay() -> None:
            async for message in ws:
                broadcast([ws, other], message)

        task = await started(relay())
        await arrive(ws, frames(ws, "a", "b"))
        assert texts(transport) == texts(other_transport) == ["a", "b"]
        task.cancel()

    run(main)


class Ended(MemoryTransport):
    """A transport of which other code has ended our half."""

    def write(self, data: Any) -> None:
        raise RuntimeError("ended by other code")

    writelines = write


@pytest.mark.parametrize("side", Side)
def test_broadcast_tells_of_transports_that_take_no_more(
    run: Callable[[Test], None], side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        failing = [connected(side, transport=Ended()) for _ in range(2)]
        other, other_transport = connected(side)
        broadcast([failing[0][0], other], "a")
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            "skipped broadcast: failed to write message: RuntimeError: ended by other code"
        ]
        with pytest.raises(ExceptionGroup) as caught:
            broadcast([failing[1][0], other], "b", raise_exceptions=True)
        [error] = caught.value.exceptions
        assert (type(error), str(error)) == (RuntimeError, "failed to write message")
        assert str(error.__cause__) == "ended by other code"
        assert texts(other_transport) == ["a", "b"]
        for ws, transport in failing:
            assert transport.aborted
            ws.connection_lost(None)
            assert str(ws.close_exc.__cause__) == "ended by other code"

    run(main)


@pytest.mark.parametrize("message", [5, None, ["a"]])
def test_broadcast_refuses_what_is_no_message(message: Any) -> None:
    with pytest.raises(TypeError):
        broadcast([], message)


def test_send_reports_errors_of_extensions_when_it_is_awaited(run: Callable[[Test], None]) -> None:
    class Failing(Extension):
        def encode(self, frame: Frame) -> Frame:
            raise ZeroDivisionError

    async def main() -> None:
        ws, _ = connected()
        ws.session.open(0.0, [Failing()])
        sending = ws.send("a")
        with pytest.raises(ZeroDivisionError):
            await sending

    run(main)


# Iterating


def test_ending_an_iterator_does_not_close_the_connection(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        await arrive(ws, frames(ws, "a", "b", "c"))
        async with contextlib.aclosing(aiter(ws)) as messages:  # type: ignore[type-var]
            assert await anext(messages) == "a"
        with pytest.raises(StopAsyncIteration):
            await anext(messages)
        assert [message async for message in messages] == []
        assert await anext(ws) == "b"
        async for message in ws:
            assert message == "c"
            break
        assert ws.state is State.OPEN
        assert transport.take() == []

    run(main)


# Fragments


def test_other_sends_wait_for_the_end_of_a_fragmented_message(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        more = asyncio.Event()

        async def fragments() -> AsyncIterator[bytes]:
            yield b"a"
            await more.wait()

        first = await started(ws.send(fragments()))
        second = await started(ws.send("second"))
        more.set()
        await asyncio.gather(first, second)
        assert transport.take() == [RawFrame(BINARY, b"a", False), RawFrame(CONT, b""), RawFrame(TEXT, b"second")]

    run(main)


def test_fragments_are_received_as_they_come(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        received: list[Any] = []

        async def receive() -> None:
            async for fragment in ws.recv_streaming():
                received.append(fragment)

        task = await started(receive())
        await arrive(ws, peer_frame(ws.session, TEXT, b"a\xc3", fin=False))
        await turns()
        assert received == ["a"]
        await arrive(ws, peer_frame(ws.session, CONT, b"\xa9", fin=False))
        await arrive(ws, peer_frame(ws.session, CONT, b""))
        await task
        assert "".join(received) == "aé"

    run(main)


# Ends


def test_the_server_ends_the_stream_first(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        for half_closing in (True, False):
            server, transport = connected(half_closing=half_closing)
            await arrive(server, peer_frame(server.session, CLOSE, b"\x03\xe8"))
            assert transport.take() == [RawFrame(CLOSE, b"\x03\xe8")]
            assert (transport.ended, transport.closed) == (half_closing, not half_closing)  # TLS can't half-close
            client, transport = connected(Side.CLIENT, half_closing=half_closing)
            await arrive(client, peer_frame(client.session, CLOSE, b"\x03\xe8"))
            assert not transport.ended
            assert not transport.closed
            client.eof_received()
            assert transport.closed
            for ws in (server, client):
                ws.connection_lost(None)
                await ws.wait_closed()
                assert ws.state is State.CLOSED
                assert ws.close_code == 1000

    run(main)


def test_a_peer_that_does_not_close_is_dropped(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(close_timeout=0.001)
        task = await started(ws.close())
        while not transport.aborted:
            await asyncio.sleep(0.001)
        ws.connection_lost(None)
        await task
        assert ws.close_code == 1006

    run(main)


def test_keepalive_fails_a_connection_without_pongs(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(ping_interval=0.001, ping_timeout=0.001)
        while ws.state is State.OPEN:
            await asyncio.sleep(0.001)
        ping, close = transport.take()
        assert ping.opcode == PING
        assert close == RawFrame(CLOSE, b"\x03\xf3keepalive ping timeout")
        ws.connection_lost(None)
        with pytest.raises(ConnectionClosedError) as caught:
            await ws.recv()
        assert isinstance(caught.value.__cause__, TimeoutError)

    run(main)


def test_a_loss_wakes_all_who_wait(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        receiving = await started(ws.recv())
        pong = await ws.ping()
        ws.pause_writing()
        sending = await started(ws.send("a"))
        closed = await started(ws.wait_closed())
        ws.connection_lost(OSError("cut"))
        for waiter in (receiving, sending, pong):
            with pytest.raises(ConnectionClosedError) as caught:
                await waiter
            assert str(caught.value.__cause__) == "cut"
        await closed

    run(main)


def test_pongs_complete_pings(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        first, second = await ws.ping("1"), await ws.ping(b"2")
        assert [frame.payload for frame in transport.take()] == [b"1", b"2"]
        await arrive(ws, peer_frame(ws.session, PONG, b"2"))
        assert await first >= await second >= 0.0
        assert ws.latency == await second

    run(main)


class HastyLoop(asyncio.SelectorEventLoop):
    """Rounds down what time is left to its timers, as uvloop does, but by more."""

    def call_later(self, delay: float, *arguments: Any, **keywords: Any) -> asyncio.TimerHandle:
        return super().call_later(delay / 2, *arguments, **keywords)


def test_latency_is_that_of_the_peer_where_timers_are_early() -> None:
    async def main() -> None:
        ws, transport = connected(ping_interval=0.2)
        while not (pings := transport.take()):
            await asyncio.sleep(0)
        await arrive(ws, peer_frame(ws.session, PONG, pings[0].payload))
        assert ws.latency > 0

    with asyncio.Runner(loop_factory=HastyLoop) as runner:
        runner.run(main())


def test_a_fault_of_the_peer_closes(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        await arrive(ws, peer_frame(ws.session, 3))
        assert transport.take() == [RawFrame(CLOSE, b"\x03\xeainvalid opcode")]
        assert transport.ended
        assert sent(ws.session) == []
        ws.connection_lost(None)
        with pytest.raises(ConnectionClosedError):
            await ws.recv()

    run(main)


def test_a_failure_while_reading_is_paused_still_sees_the_end_of_the_stream(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(max_queue=1)
        await arrive(ws, frames(ws, "a", "b"))
        assert not transport.reading

        async def fragments() -> AsyncIterator[str]:
            yield "a"
            raise ValueError("out of fragments")

        with pytest.raises(ValueError, match="out of fragments"):
            await ws.send(fragments())
        assert ws.state is State.CLOSING
        assert transport.reading  # else the end of the stream is never seen, and closing takes close_timeout

    run(main)


# Messages before a fault of the peer are answered first (Autobahn 3.2, 4.1.3, 5.15, strictly)

INVALID_OPCODE = RawFrame(CLOSE, b"\x03\xeainvalid opcode")


def text_frames(*messages: bytes) -> list[RawFrame]:
    return [RawFrame(TEXT, message) for message in messages]


def test_answers_leave_before_the_close_frame_of_a_fault(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        task = await started(echo(ws))
        await arrive(ws, frames(ws, "a", "b") + peer_frame(ws.session, 3))
        await turns()
        assert transport.take() == [*text_frames(b"a", b"b"), INVALID_OPCODE]
        assert transport.ended
        ws.connection_lost(None)
        with pytest.raises(ConnectionClosedError, match="invalid opcode"):
            await task

    run(main)


def test_a_fault_waits_for_a_handler_that_waits_for_something_else(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        database: asyncio.Queue[str] = asyncio.Queue()

        async def handler() -> None:
            async for _ in ws:
                await ws.send(await database.get())

        task = await started(handler())
        await arrive(ws, frames(ws, "a", "b") + peer_frame(ws.session, 3))
        await turns()
        assert transport.take() == []
        assert ws.state is State.OPEN
        for answer in ("A", "B"):
            database.put_nowait(answer)
            await turns()
        assert transport.take() == [*text_frames(b"A", b"B"), INVALID_OPCODE]
        task.cancel()

    run(main)


def test_a_fault_behind_half_a_message_waits_for_nobody(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        task = await started(ws.recv())
        await arrive(ws, peer_frame(ws.session, TEXT, b"a", fin=False) + peer_frame(ws.session, 3))
        await turns()
        assert transport.take() == [INVALID_OPCODE]
        task.cancel()

    run(main)


def test_fragments_before_a_fault_are_streamed_first(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()

        async def stream() -> None:
            async for fragment in ws.recv_streaming():
                await ws.send(fragment)

        task = await started(stream())
        await arrive(ws, peer_frame(ws.session, TEXT, b"a", fin=False) + peer_frame(ws.session, 3))
        await turns()
        assert transport.take() == [*text_frames(b"a"), INVALID_OPCODE]
        task.cancel()

    run(main)


def test_a_fault_does_not_wait_for_ever_for_an_application(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected(close_timeout=0.01)
        await arrive(ws, frames(ws, "never read") + peer_frame(ws.session, 3))
        assert ws.state is State.OPEN
        while not transport.aborted:
            await asyncio.sleep(0.001)
        assert transport.take() == [INVALID_OPCODE]

    run(main)


def test_closing_tells_the_peer_of_its_fault(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        await arrive(ws, frames(ws, "a") + peer_frame(ws.session, 3))
        closing = await started(ws.close())
        assert transport.take() == [INVALID_OPCODE]
        ws.connection_lost(None)
        await closing

    run(main)


def test_lost_connection_is_freed_at_once_also_if_frames_are_logged(
    run: Callable[[Test], None], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "websockets.server")

    async def main() -> None:
        ws, _ = connected()
        await arrive(ws, frames(ws, "a"))
        assert await ws.recv() == "a"
        ws.connection_lost(None)
        reference = weakref.ref(ws)
        del ws
        assert reference() is None, "only the garbage collector finds it"

    gc.collect()
    gc.disable()
    try:
        run(main)
    finally:
        gc.enable()
    assert any("TEXT" in record.getMessage() for record in caplog.records)
