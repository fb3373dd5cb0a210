"""What `recv()` and `send()` return, under everything that asyncio does with awaitables."""

from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import contextvars
import gc
import inspect
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests.core.wire import peer_frame
from tests.support.memory import LOOPS, MemoryTransport, arrive, connected, frames, run_on
from tests.support.raw import TEXT
from trunkline.asyncio.connection import Connection
from trunkline.exceptions import ConcurrencyError, ConnectionClosedError

BUDGET = 1024  # messages that leave without giving the loop a turn
Test = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Test], None]:
    """Runs a test's coroutine on each kind of event loop."""
    return lambda main: run_on(request.param, main)


# Ways to wait for an awaitable


async def plainly(awaitable: Any) -> Any:
    return await awaitable


async def in_a_task(awaitable: Any) -> Any:
    return await asyncio.create_task(awaitable)


async def ensured(awaitable: Any) -> Any:
    return await asyncio.ensure_future(awaitable)


async def gathered(awaitable: Any) -> Any:
    result, _ = await asyncio.gather(awaitable, asyncio.sleep(0))
    return result


async def with_wait_for(awaitable: Any) -> Any:
    return await asyncio.wait_for(awaitable, 60)


async def with_timeout(awaitable: Any) -> Any:
    async with asyncio.timeout(60):
        return await awaitable


async def in_a_group(awaitable: Any) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(awaitable)
    except* ConnectionClosedError:
        pass
    return task.result()


async def shielded(awaitable: Any) -> Any:
    return await asyncio.shield(awaitable)


async def waited_for(awaitable: Any) -> Any:
    (task,), _ = await asyncio.wait([asyncio.create_task(awaitable)])
    return task.result()


async def ensured_and_waited_for(awaitable: Any) -> Any:
    """`asyncio.wait` refuses coroutines, so what `ensure_future` returns must not be one."""
    (future,), _ = await asyncio.wait([asyncio.ensure_future(awaitable)])
    return future.result()


async def as_completed(awaitable: Any) -> Any:
    (first,) = asyncio.as_completed([awaitable])
    return await first


async def threadsafe(awaitable: Any) -> Any:
    """`run_coroutine_threadsafe` insists on a coroutine."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(awaitable, asyncio.get_running_loop()))


WAYS = [
    plainly,
    in_a_task,
    ensured,
    gathered,
    with_wait_for,
    with_timeout,
    in_a_group,
    shielded,
    waited_for,
    ensured_and_waited_for,
    as_completed,
    threadsafe,
]
each_way = pytest.mark.parametrize("way", WAYS)
Way = Callable[[Any], Awaitable[Any]]


async def waiting(awaitable: Awaitable[Any]) -> asyncio.Task[Any]:
    """A task that waits."""
    task = asyncio.ensure_future(awaitable)
    assert isinstance(task, asyncio.Task)
    for _ in range(3):
        await asyncio.sleep(0)
    assert not task.done()
    return task


# recv()


@each_way
def test_recv_of_a_message_that_is_there(run: Callable[[Test], None], way: Way) -> None:
    async def main() -> None:
        ws, _ = connected()
        await arrive(ws, frames(ws, "a", b"b"))
        assert await way(ws.recv()) == "a"
        assert await way(ws.recv()) == b"b"

    run(main)


@each_way
def test_recv_that_waits(run: Callable[[Test], None], way: Way) -> None:
    async def main() -> None:
        ws, _ = connected()
        for message in ("a", b"b"):
            task = await waiting(way(ws.recv()))
            await arrive(ws, frames(ws, message))
            assert await task == message

    run(main)


@each_way
def test_recv_that_fails(run: Callable[[Test], None], way: Way) -> None:
    async def main() -> None:
        ws, _ = connected()
        task = await waiting(way(ws.recv()))
        ws.connection_lost(OSError("cut"))
        with pytest.raises(ConnectionClosedError) as caught:
            await task
        assert str(caught.value.__cause__) == "cut"
        with pytest.raises(ConnectionClosedError):
            await way(ws.recv())

    run(main)


@each_way
def test_cancelling_recv_loses_nothing(run: Callable[[Test], None], way: Way) -> None:
    async def main() -> None:
        ws, _ = connected()
        task = await waiting(way(ws.recv()))
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        if way in (shielded, threadsafe, waited_for, ensured_and_waited_for, as_completed):
            # These leave a task of their own waiting, as they do with any coroutine.
            for other in asyncio.all_tasks() - {asyncio.current_task()}:
                other.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await arrive(ws, frames(ws, "a"))
        assert await ws.recv() == "a"

    run(main)


def test_the_message_of_a_cancellation_is_kept(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        task = await waiting(ws.recv())
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await task
        assert task.cancelled()

    run(main)


def test_recv_is_answered_without_a_turn_of_the_loop(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        await arrive(ws, frames(ws, "a", "b"))
        turns: list[str] = []
        asyncio.get_running_loop().call_soon(turns.append, "turn")
        assert [await ws.recv(), await ws.recv()] == ["a", "b"]
        assert turns == []

    run(main)


def test_a_waiting_task_runs_after_the_delivery(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        loop = asyncio.get_running_loop()
        seen: list[Any] = []

        async def receive() -> None:
            seen.append(await ws.recv())
            seen.append(asyncio.current_task() is task)
            seen.append(asyncio.get_running_loop() is loop)

        def deliver() -> None:
            ws.data_received(frames(ws, "a"))
            seen.append("delivered")
            seen.append(asyncio.current_task())

        task = await waiting(receive())
        loop.call_soon(deliver)
        await task
        assert seen == ["delivered", None, "a", True, True]

    run(main)


def test_a_waiting_task_does_not_run_inside_another(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        current = asyncio.current_task()
        task = await waiting(ws.recv())
        ws.data_received(frames(ws, "a"))
        assert not task.done()
        assert asyncio.current_task() is current
        assert await task == "a"

    run(main)


def test_cancelling_a_task_that_was_woken_loses_nothing(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        task = await waiting(ws.recv())
        ws.data_received(frames(ws, "a"))  # the task will run in the next turn
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ws.recv() == "a"

    run(main)


def test_a_message_that_comes_behind_a_cancellation_is_not_lost(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        for deliver in (lambda: ws.data_received(frames(ws, "a")), lambda: None):
            task = await waiting(ws.recv())
            task.cancel()
            asyncio.get_running_loop().call_soon(ws.data_received, frames(ws, "a"))
            deliver()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.sleep(0)
            assert len(ws.session.inbox) > 0
            while len(ws.session.inbox):
                assert await ws.recv() == "a"

    run(main)


def test_a_task_may_outlive_its_cancellation(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()

        async def stubborn() -> Any:
            with contextlib.suppress(asyncio.CancelledError):
                await ws.recv()
            return await ws.recv()

        task = await waiting(stubborn())
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await arrive(ws, frames(ws, "a"))
        assert await task == "a"

    run(main)


def test_timeouts(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.recv(), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await ws.recv()
        await arrive(ws, frames(ws, "a"))
        assert await ws.recv() == "a"

    run(main)


def test_context_variables_are_those_of_the_task(run: Callable[[Test], None]) -> None:
    variable = contextvars.ContextVar("variable", default="of nobody")

    async def main() -> None:
        ws, _ = connected()
        seen: list[str] = []

        async def receive() -> None:
            variable.set("of the task")
            await ws.recv()
            seen.append(variable.get())
            variable.set("of the task, later")
            await ws.recv()
            seen.append(variable.get())

        def deliver(message: str) -> None:
            variable.set("of the transport")
            ws.data_received(frames(ws, message))
            seen.append(variable.get())

        task = await waiting(receive())
        asyncio.get_running_loop().call_soon(deliver, "a")
        for _ in range(3):
            await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(deliver, "b")
        await task
        assert seen == ["of the transport", "of the task", "of the transport", "of the task, later"]
        assert variable.get() == "of nobody"

    run(main)


def test_an_error_of_the_task_is_not_an_error_of_the_transport(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()

        async def fail() -> None:
            await ws.recv()
            await ws.send("sent before failing")
            raise ValueError("fails")

        task = await waiting(fail())
        await arrive(ws, frames(ws, "a"))
        with pytest.raises(ValueError, match="fails"):
            await task
        assert [frame.payload for frame in transport.take()] == [b"sent before failing"]
        await arrive(ws, frames(ws, "b"))
        assert await ws.recv() == "b"
        await ws.send("not held back")
        assert [frame.payload for frame in transport.take()] == [b"not held back"]

    run(main)


def test_a_task_may_receive_again_and_again_in_one_delivery(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        received: list[Any] = []

        async def receive() -> None:
            async for message in ws:
                received.append(message)
                if message == "end":
                    break

        task = await waiting(receive())
        await arrive(ws, frames(ws, "a", "b", "end"))
        assert task.done()
        assert received == ["a", "b", "end"]

    run(main)


def test_two_tasks_can_not_receive_at_once(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        first = await waiting(ws.recv())
        with pytest.raises(ConcurrencyError, match="another coroutine is already running recv"):
            await ws.recv()
        await arrive(ws, frames(ws, "a"))
        assert await first == "a"

    run(main)


def test_a_waiting_task_can_be_looked_at(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        task = await waiting(ws.recv())
        assert "pending" in repr(task)
        assert "Receive" in repr(task)
        task.get_stack()
        task.cancel()
        await asyncio.wait([task])
        assert "cancelled" in repr(task)

    run(main)


# As a coroutine


def test_recv_passes_for_a_coroutine(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        receiving = ws.recv()
        assert isinstance(receiving, collections.abc.Coroutine)
        assert inspect.isawaitable(receiving)
        assert inspect.iscoroutine(receiving)
        assert asyncio.iscoroutine(receiving)
        assert not asyncio.isfuture(receiving)
        assert type(receiving).__name__ == receiving.__name__ == receiving.__qualname__ == "Receive"
        with pytest.raises(AttributeError, match="'Receive' object has no attribute 'cr_wait'"):
            receiving.cr_wait  # type: ignore[attr-defined]  # noqa: B018

    run(main)


def test_recv_driven_by_hand(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        await arrive(ws, frames(ws, "a"))
        receiving: Any = ws.recv()
        with pytest.raises(StopIteration) as caught:
            receiving.send(None)
        assert caught.value.value == "a"
        receiving = ws.recv()
        assert receiving.send(None) is receiving
        assert not receiving.done()
        assert receiving.get_loop() is asyncio.get_running_loop()
        receiving.close()
        receiving.close()
        ws.data_received(frames(ws, "b"))
        assert await ws.recv() == "b"

    run(main)


def test_a_callback_gets_what_it_was_added_to(run: Callable[[Test], None]) -> None:
    """Only a task, which has no use for it, is given something else."""

    async def main() -> None:
        ws, _ = connected()
        receiving: Any = ws.recv()
        assert receiving.send(None) is receiving
        called: list[Any] = []
        receiving.add_done_callback(called.append, context=contextvars.copy_context())
        await arrive(ws, frames(ws, "a"))
        assert called == [receiving]
        assert receiving.done()
        assert receiving.result() is None
        receiving.close()
        assert await ws.recv() == "a"

    run(main)


@pytest.mark.parametrize(
    "arguments",
    [(ValueError("thrown"),), (ValueError, ValueError("thrown")), (ValueError, ValueError("thrown"), None)],
)
def test_throwing_into_recv_ends_it(run: Callable[[Test], None], arguments: Any) -> None:
    async def main() -> None:
        ws, _ = connected()
        receiving: Any = ws.recv()
        receiving.send(None)
        with pytest.raises(ValueError, match="thrown"):
            receiving.throw(*arguments)
        ws.data_received(frames(ws, "a"))
        assert await ws.recv() == "a"

    run(main)


def test_throwing_a_class_makes_an_instance(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        for awaitable in (ws.recv(), ws.send("a")):
            with pytest.raises(KeyError):
                awaitable.throw(KeyError)

    run(main)


# send()


async def sent_at_once(ws: Connection, transport: MemoryTransport) -> Awaitable[None]:
    return ws.send("a")


async def sent_after_a_pause(ws: Connection, transport: MemoryTransport) -> Awaitable[None]:
    """The last of as many as may leave without giving the loop a turn."""
    for _ in range(BUDGET):
        await ws.send("a")
    transport.take()
    return ws.send("a")


async def sent_in_fragments(ws: Connection, transport: MemoryTransport) -> Awaitable[None]:
    return ws.send(["a"])


async def sent_to_a_slow_reader(ws: Connection, transport: MemoryTransport) -> Awaitable[None]:
    ws.pause_writing()
    sending = ws.send("a")
    ws.loop.call_later(0.001, ws.resume_writing)
    return sending


SENDS = [sent_at_once, sent_after_a_pause, sent_in_fragments, sent_to_a_slow_reader]


@each_way
@pytest.mark.parametrize("prepare", SENDS)
def test_send(run: Callable[[Test], None], way: Way, prepare: Callable[..., Awaitable[Any]]) -> None:
    async def main() -> None:
        ws, transport = connected()
        sending: Awaitable[None] = await prepare(ws, transport)
        assert await way(sending) is None
        assert transport.take()[0].payload == b"a"

    run(main)


@each_way
def test_send_on_a_lost_connection(run: Callable[[Test], None], way: Way) -> None:
    async def main() -> None:
        ws, _ = connected()
        ws.pause_writing()
        task = await waiting(way(ws.send("a")))
        ws.connection_lost(None)
        with pytest.raises(ConnectionClosedError):
            await task
        with pytest.raises(ConnectionClosedError):
            await way(ws.send("b"))

    run(main)


def test_send_is_on_its_way_before_it_is_awaited(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        sending = ws.send("a")
        assert [frame.payload for frame in transport.take()] == [b"a"]
        await sending

    run(main)


@pytest.mark.compiled
def test_sends_that_need_not_wait_cost_no_task(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        other, _ = connected()
        before = asyncio.all_tasks()
        sending = [ws.send(str(i)) for i in range(100)]
        assert all(asyncio.isfuture(one) for one in sending)
        gathering = asyncio.gather(*sending, other.send("x"))
        assert asyncio.all_tasks() == before
        assert await gathering == [None] * 101
        assert [frame.payload for frame in transport.take()] == [str(i).encode() for i in range(100)]

    run(main)


def test_what_send_returns_passes_for_a_coroutine(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        for prepare in SENDS:
            ws, transport = connected()
            sending: Any = await prepare(ws, transport)
            assert inspect.iscoroutine(sending)
            assert asyncio.iscoroutine(sending)
            assert isinstance(sending, collections.abc.Coroutine)
            assert not sending.cr_running
            assert sending.__name__
            sending.close()

    run(main)


@pytest.mark.compiled
def test_what_send_returns_becomes_a_future_that_is_done(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        sending: Any = ws.send("a")
        assert asyncio.ensure_future(sending) is sending
        assert not asyncio.iscoroutine(sending)
        assert not inspect.iscoroutine(sending)
        assert sending.done()
        assert not sending.cancelled()
        assert not sending.cancel()
        assert sending.result() is None
        assert sending.exception() is None
        assert sending.get_loop() is asyncio.get_running_loop()
        called = asyncio.Event()
        sending.add_done_callback(lambda future: called.set())
        await called.wait()
        await sending
        await sending

    run(main)


def test_futures_of_sends_are_different(run: Callable[[Test], None]) -> None:
    """So that a program can keep them as keys, and `asyncio.wait` counts them."""

    async def main() -> None:
        ws, _ = connected()
        other, _ = connected()
        sending = {asyncio.ensure_future(one.send("a")): one for one in (ws, other, ws)}
        done, _ = await asyncio.wait(sending)
        assert len(done) == 3

    run(main)


def test_an_event_loop_ends_with_sends_that_became_futures() -> None:
    async def main() -> list[Any]:
        ws, _ = connected()
        return [weakref.ref(asyncio.ensure_future(ws.send("a"))), weakref.ref(ws.send("b"))]

    references = asyncio.run(main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_states_of_a_coroutine(run: Callable[[Test], None]) -> None:
    """anyio cancels a task only if its coroutine was started."""

    async def main() -> None:
        ws, _ = connected()
        receiving: Any = ws.recv()
        assert inspect.getcoroutinestate(receiving) == inspect.CORO_CLOSED
        task = await waiting(receiving)
        assert inspect.getcoroutinestate(receiving) == inspect.CORO_SUSPENDED
        assert task.get_coro() is receiving
        assert task.get_stack() == []
        assert "Receive" in repr(task)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert inspect.getcoroutinestate(receiving) == inspect.CORO_CLOSED

    run(main)


def test_cancelling_a_send_that_waits(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, transport = connected()
        ws.pause_writing()
        task = await waiting(ws.send("a"))
        other = await waiting(ws.send("b"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not other.done()
        ws.resume_writing()
        await other
        assert [frame.payload for frame in transport.take()] == [b"a", b"b"]  # both were on their way

    run(main)


def test_a_send_that_is_woken_and_finds_the_peer_slow_again_waits_on(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        ws.pause_writing()
        task = await waiting(ws.send("a"))
        ws.resume_writing()
        ws.pause_writing()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not task.done()
        ws.resume_writing()
        await task

    run(main)


def test_fragments_wake_whoever_collects_them(run: Callable[[Test], None]) -> None:
    async def main() -> None:
        ws, _ = connected()
        task = await waiting(ws.recv())
        await arrive(ws, peer_frame(ws.session, TEXT, b"a", fin=False))
        assert not task.done()
        await arrive(ws, peer_frame(ws.session, 0, b"b"))
        assert await task == "ab"

    run(main)
