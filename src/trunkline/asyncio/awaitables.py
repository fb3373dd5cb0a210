"""What `recv()` and `send()` return: awaitables that cost no coroutine and no turn of the event loop.

A `Waiter` is at once what the caller awaits and what the task of the caller waits for. Awaited, it answers immediately
if it can. If not, it yields itself to the task, as a future would: `asyncio` treats any object with
`_asyncio_future_blocking` and the methods below as one. The difference to a future is in `wake_now`. When the event
loop has just called us and no task is running, it resumes the waiting task at once, in its own context. A future would
wait for the next turn of the loop.

To all other code it is a coroutine. It has the methods of one, so `create_task`, `wait_for`, `TaskGroup` and
`run_coroutine_threadsafe` take it. Its `__class__` is that of coroutines, for `inspect.iscoroutine`, and a method that
returns one has the flag that `inspect.iscoroutinefunction` looks for. While a waiter does not wait,
`_asyncio_future_blocking` is None, which tells asyncio that it isn't a future.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from contextvars import Context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.contextvars import PyContext_Enter, PyContext_Exit
    from cython.cimports.cpython.object import PyObject
    from cython.cimports.cpython.ref import Py_INCREF
    from cython.cimports.trunkline.asyncio.awaiting import (
        PYGEN_NEXT,
        PYGEN_RETURN,
        become,
        enter_context,
        future_coroutine_type,
        install,
        leave_context,
        mark,
        stop,
        wakes_task,
    )

__all__ = ["Pause", "Sends", "Sent", "SentFuture", "Waiter", "mark_coroutine_functions"]

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
class CoroutineLike:
    """An object that passes for a coroutine that does `__next__` of a subclass.

    It has no `cr_await`: asyncio's call graphs would look for a frame of it.
    """

    cr_code = cr_frame = cr_origin = None
    cr_running = False

    @property
    def cr_suspended(self) -> bool:
        return False

    @property
    def cr_state(self) -> str:
        """The state that `inspect.getcoroutinestate` asks for from Python 3.15 on."""
        return inspect.CORO_SUSPENDED if self.cr_suspended else inspect.CORO_CLOSED

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return CoroutineType

    def __getattr__(self, name: str) -> str:
        if name == "__name__" or name == "__qualname__":
            return type(self).__name__
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __iter__(self) -> CoroutineLike:
        return self

    def __next__(self) -> Any:
        raise NotImplementedError

    def send(self, value: Any) -> Any:
        return self.__next__()

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        raise value.with_traceback(traceback) if traceback is not None else value

    def close(self) -> None:
        pass


@cython.cclass
class Waiter(CoroutineLike):
    """Base of awaitables that may wait; `step` of a subclass says for what.

    `get_loop` is a weak reference to the event loop: called, as asyncio does for each message, it answers at once.
    """

    if not cython.compiled:
        # Values that a compiled instance starts with. asyncio looks for the first one on the class.
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

    # For the code that has the awaited thing

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

    # Methods of a coroutine

    @property
    def cr_suspended(self) -> bool:
        return self.phase == WAITING

    def __await__(self) -> Waiter:
        return self

    def __next__(self) -> Any:
        value: object = self.step()
        if value is self:
            return self
        raise StopIteration(value)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        self.close()
        return CoroutineLike.throw(self, kind, value, traceback)

    def close(self) -> None:
        self.phase = IDLE
        self.release()

    # Methods of a future, besides `get_loop`

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
class Pause(CoroutineLike):
    """Gives the event loop one turn: for a task that never has to wait, and would starve the others."""

    def __init__(self) -> None:
        self.paused = False

    def __await__(self) -> Pause:
        return self

    def __next__(self) -> None:
        if self.paused:
            raise StopIteration
        self.paused = True


@cython.cclass
class Sent(CoroutineLike):
    """What `send()` returns when nothing has to wait. One object for all sends on a loop.

    Compiled, it is a future, too, so that `gather(*(client.send(message) for client in clients))` makes no task for it.
    But it can't be both for ever: `asyncio.wait` refuses coroutines. So when asyncio asks, it becomes a `SentFuture`.
    """

    def __init__(self, get_loop: Callable[[], Any]) -> None:
        self.get_loop = get_loop

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return future_coroutine_type() if cython.compiled else CoroutineType

    @property
    def _asyncio_future_blocking(self) -> bool:
        if cython.compiled:
            become(self, SentFuture)
        return False

    def __await__(self) -> Sent:
        return self

    def __next__(self) -> None:
        raise StopIteration


@cython.final
@cython.cclass
class SentFuture:
    """A future that is done, with None."""

    def __init__(self, get_loop: Callable[[], Any]) -> None:
        self.get_loop = get_loop

    @property
    def _asyncio_future_blocking(self) -> bool:
        return False

    def __await__(self) -> SentFuture:
        return self

    def __iter__(self) -> SentFuture:
        return self

    def __next__(self) -> None:
        raise StopIteration

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


@cython.final
@cython.cclass
class Sends:
    """The results of all `send()` on an event loop that need not wait."""

    def __init__(self, get_loop: Callable[[], Any]) -> None:
        self.get_loop = get_loop
        self.sent = Sent(get_loop)

    @cython.cfunc
    def result(self) -> Sent:
        if type(self.sent) is not Sent:
            self.sent = Sent(self.get_loop)
        return self.sent


def mark_coroutine_functions(*functions: Any) -> None:
    """Tell `inspect.iscoroutinefunction` that functions return what passes for a coroutine.

    A compiled function has the flag of a coroutine in its code, and so has an interpreted one on Python 3.11. Later
    versions have `inspect.markcoroutinefunction`, and 3.15 warns if the code of a function becomes that of a coroutine.
    """
    for function in functions:
        if cython.compiled:
            mark(function.__code__)
        elif sys.version_info >= (3, 12):
            inspect.markcoroutinefunction(function)
        else:
            code = function.__code__
            function.__code__ = code.replace(co_flags=code.co_flags | inspect.CO_COROUTINE)


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
