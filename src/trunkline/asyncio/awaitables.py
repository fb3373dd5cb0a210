"""What `recv()` and `send()` return: awaitables that cost no coroutine and no turn of the event loop.

A `Waiter` is at once what the caller awaits and what the task of the caller waits for. Awaited, it answers immediately
if it can. If not, it yields itself to the task, as a future would: `asyncio` treats any object with
`_asyncio_future_blocking` and the methods below as one. The difference to a future is in `wake_now`: when the event
loop has just called us and no task is running, the waiting task can be resumed at once, in its own context, instead of
in the next turn of the loop.

As a class with `__await__`, `send`, `throw` and `close`, a waiter passes for a coroutine, so `create_task`, `gather`,
`wait_for`, `TaskGroup` and `run_coroutine_threadsafe` take it. While it does not wait, `_asyncio_future_blocking` is
None, which tells asyncio that it isn't a future.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any

try:
    import cython
except ImportError:
    from trunkline.core import _cython as cython  # type: ignore[no-redef]

if cython.compiled:
    from cython.cimports.cpython.contextvars import PyContext_Enter, PyContext_Exit
    from cython.cimports.cpython.object import PyObject
    from cython.cimports.cpython.ref import Py_INCREF
    from cython.cimports.trunkline.asyncio.awaiting import (
        PYGEN_NEXT,
        PYGEN_RETURN,
        enter_context,
        install,
        leave_context,
        stop,
        wakes_task,
    )

__all__ = ["Pause", "Sent", "Waiter"]

IDLE, WAITING, WOKEN, CANCELLED = 0, 1, 2, 3


def done_future() -> asyncio.Future[None]:
    """A future of no event loop that is done, with None."""

    class NoLoop:
        def get_debug(self) -> bool:
            return False

    future: asyncio.Future[None] = asyncio.Future(loop=NoLoop())  # type: ignore[arg-type]
    future.set_result(None)
    return future


# A task that is woken asks what woke it for a result, and for nothing else. Unless that is a future of asyncio, asking
# takes longer than all that we do for a message.
DONE = done_future()


@cython.cclass
class Waiter:
    """Base of awaitables that may wait; `step` of a subclass says for what.

    `get_loop` is a weak reference to the event loop: called, as asyncio does for each message, it answers at once.
    """

    if not cython.compiled:
        # What a compiled instance starts with. asyncio looks for the first one on the class.
        _asyncio_future_blocking: bool | None = None
        phase = IDLE
        callback: Callable[[Any], object] | None = None
        context: Context | None = None
        cancel_message: Any = None

    def __init__(self, get_loop: Callable[[], Any]) -> None:
        self.get_loop = get_loop

    # For subclasses

    @cython.cfunc
    def step(self) -> object:
        """The result if it is there, else `self.wait()`; errors are raised."""
        raise NotImplementedError

    @cython.cfunc
    def release(self) -> None:
        """Called when a waiter ends without a result: cancelled, or closed."""

    @cython.cfunc
    def wait(self) -> object:
        self.phase = WAITING
        self._asyncio_future_blocking = True
        return self

    # For whoever has what is waited for

    @cython.ccall
    def wake_now(self) -> None:
        """Resume the waiting task in this call. No task may be running."""
        callback: Any = self._wake()
        context: Any = self.context
        if callback is None:
            return
        if not cython.compiled:
            context.run(callback, self)
            return
        # The loop has entered a context to call us. If the task runs the loop itself, as with nest_asyncio, that enters
        # it again, which only works for a context that was left.
        outer: cython.pointer[PyObject] = leave_context()
        PyContext_Enter(context)
        try:
            callback(DONE if wakes_task(callback) else self)
        finally:
            PyContext_Exit(context)
            enter_context(outer)

    @cython.ccall
    def wake_soon(self) -> None:
        """Resume the waiting task in the next turn of the loop."""
        callback: Any = self._wake()
        loop: Any = self.get_loop()
        if callback is not None and not loop.is_closed():
            loop.call_soon(callback, self, context=self.context)

    def resume(self) -> None:
        """`wake_now` for the event loop to call; its log of slow callbacks shall name the task."""
        if self.get_loop().get_debug():
            self.wake_soon()
        else:
            self.wake_now()

    @cython.cfunc
    def _wake(self) -> Any:
        if self.phase != WAITING:
            return None
        self.phase = WOKEN
        callback: object = self.callback
        self.callback = None
        return callback

    # What a coroutine has

    def __await__(self) -> Waiter:
        return self

    def __iter__(self) -> Waiter:
        return self

    def __next__(self) -> Any:
        value: object = self.step()
        if value is self:
            return self
        raise StopIteration(value)

    def send(self, value: Any) -> Any:
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        self.phase = IDLE
        self.release()
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        raise value.with_traceback(traceback) if traceback is not None else value

    def close(self) -> None:
        self.phase = IDLE
        self.release()

    # What a future has, besides `get_loop`

    def done(self) -> bool:
        return self.phase != WAITING

    def cancelled(self) -> bool:
        return self.phase == CANCELLED

    def result(self) -> None:
        if self.phase == CANCELLED:
            raise self._cancelled_error()

    def exception(self) -> None:
        self.result()

    def _cancelled_error(self) -> asyncio.CancelledError:
        return asyncio.CancelledError() if self.cancel_message is None else asyncio.CancelledError(self.cancel_message)

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        self.callback = callback
        self.context = context

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        removed = self.callback == callback
        if removed:
            self.callback = None
        return int(removed)

    def cancel(self, msg: Any = None) -> bool:
        if self.phase != WAITING:
            return False
        callback: Any = self._wake()
        self.phase = CANCELLED
        self.cancel_message = msg
        if callback is not None:
            self.get_loop().call_soon(callback, self, context=self.context)
        return True


@cython.cclass
class Pause:
    """Gives the event loop one turn: for a task that never has to wait, and would starve the others."""

    def __init__(self) -> None:
        self.paused = False

    def __await__(self) -> Pause:
        return self

    def __iter__(self) -> Pause:
        return self

    def __next__(self) -> None:
        if self.paused:
            raise StopIteration
        self.paused = True

    def send(self, value: Any) -> None:
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> None:
        raise (kind() if isinstance(kind, type) else kind) if value is None else value

    def close(self) -> None:
        pass


@cython.cclass
class Sent:
    """What `send()` returns when nothing has to wait. One object for all sends on a loop.

    It is awaitable, and to asyncio it is a future that is done: `gather(*(client.send(message) for client in clients))`
    makes no task for it.
    """

    if not cython.compiled:
        _asyncio_future_blocking: bool | None = False

    def __init__(self, get_loop: Callable[[], Any]) -> None:
        self.get_loop = get_loop
        self._asyncio_future_blocking = False

    def __await__(self) -> Sent:
        return self

    def __iter__(self) -> Sent:
        return self

    def __next__(self) -> None:
        raise StopIteration

    def send(self, value: Any) -> None:
        raise StopIteration

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> None:
        raise (kind() if isinstance(kind, type) else kind) if value is None else value

    def close(self) -> None:
        pass

    def done(self) -> bool:
        return True

    def cancelled(self) -> bool:
        return False

    def result(self) -> None:
        return None

    def exception(self) -> None:
        return None

    def cancel(self, msg: Any = None) -> bool:
        return False

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        self.get_loop().call_soon(callback, self, context=context)

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        return 0


if cython.compiled:
    # `__next__` of the classes above, without StopIteration: see awaiting.h.

    @cython.cfunc
    @cython.exceptval(-1)
    def send_to_waiter(
        waiter: cython.pointer[PyObject],
        value: cython.pointer[PyObject],
        result: cython.pointer[cython.pointer[PyObject]],
    ) -> cython.int:
        answer: object = cython.cast(Waiter, waiter).step()
        Py_INCREF(answer)
        result[0] = cython.cast(cython.pointer[PyObject], answer)
        return PYGEN_NEXT if result[0] == waiter else PYGEN_RETURN

    @cython.cfunc
    @cython.exceptval(check=True)
    def next_of_waiter(waiter: cython.pointer[PyObject]) -> cython.pointer[PyObject]:
        answer: object = cython.cast(Waiter, waiter).step()
        if cython.cast(cython.pointer[PyObject], answer) != waiter:
            return stop(answer)
        Py_INCREF(answer)
        return waiter

    @cython.cfunc
    @cython.exceptval(-1)
    def send_to_sent(
        sent: cython.pointer[PyObject],
        value: cython.pointer[PyObject],
        result: cython.pointer[cython.pointer[PyObject]],
    ) -> cython.int:
        Py_INCREF(None)
        result[0] = cython.cast(cython.pointer[PyObject], None)
        return PYGEN_RETURN

    @cython.cfunc
    @cython.exceptval(check=True)
    def next_of_sent(sent: cython.pointer[PyObject]) -> cython.pointer[PyObject]:
        return cython.NULL

    @cython.cfunc
    def answer_without_raising(waiter_type: object) -> None:
        """Give a subclass of `Waiter` the fast slots, which are not inherited by it."""
        install(waiter_type, send_to_waiter, next_of_waiter)

    answer_without_raising(Waiter)
    install(Sent, send_to_sent, next_of_sent)
