"""In which order the connections of an event loop wake their tasks, and whose frames may wait.

A driver with an event loop works in two phases. In the first one it receives and parses what all ready sockets have,
and puts their connections in line. In the second one it wakes their tasks, one behind the other. So answers leave close
to each other: while others were read in between, the process that receives them would fall asleep again.

Rooms let the frames of many publications wait for each other, until the second phase ends or the loop turns. Then they
leave in one write for each connection.

docs/explanation/sending.md tells what that means for a program. The loop is whatever the driver has: a `Line` calls
`call_soon`, `get_debug` and `call_exception_handler` of it, and imports none.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trunkline.endpoint.life import Life

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

__all__ = ["Line"]

# typing.get_type_hints() looks for these here, and Cython keeps them to itself.
globals().update(Life=Life)

AT_ONCE = 1 << 16  # bytes; the messages of a larger read are handled while they are in the caches of the CPU
LONGEST_WAIT = 200e-6  # seconds; a send that finds an older frame waiting writes it


@cython.cclass
class Line:
    """The connections on one event loop whose tasks are to be woken. A driver adds `wake_at`.

    Args:
        loop: the event loop; the line keeps no strong reference to it.

    Attributes:
        may_wake_now: whether a task may be woken without a turn of the loop.
        holder: the connection whose frames may wait just now, or None.
        held_since: when the first of them was sent, 0 for none.
    """

    def __init__(self, loop: Any) -> None:
        self.get_loop: Callable[[], Any] = weakref.ref(loop)
        self.waiting: list[Life] = []
        self.next = 0  # the first of them that is still to come
        self.turn: Any = None  # handle of `take_turn`, or None
        self.may_wake_now = True
        self.holder: Life | None = None
        self.held_since = 0.0
        self.gathered: list[Life] = []  # connections whose frames leave together

    def wake_at(self, life: Life, deadline: float) -> float:
        """Do for a carrier on this loop what `Carrier.wake_at` promises."""
        raise NotImplementedError

    # The two phases

    @cython.cfunc
    def put(self, life: Life) -> None:
        """End the first phase for a connection."""
        if not life.in_line:
            life.in_line = True
            self.waiting.append(life)

    @cython.ccall
    def note_mode(self) -> None:
        """In its debug mode the loop wakes all tasks, so that its log of slow callbacks names the slow task, not us."""
        self.may_wake_now = not self.get_loop().get_debug()

    @cython.ccall
    def wake_all(self) -> None:
        """The second phase: wake the tasks of all connections in line."""
        if self.next + 1 < len(self.waiting):
            self.ask_for_turn()
        while self.next < len(self.waiting):
            life: Life = self.waiting[self.next]
            self.next += 1
            self._wake(life)
        self.write_gathered()
        self._forget_woken()

    @cython.cfunc
    def wake(self, life: Life) -> None:
        """Both phases at once."""
        if self.waiting:
            self.ask_for_turn()
        self._wake(life)
        self.write_gathered()
        self._forget_woken()

    @cython.cfunc
    def _forget_woken(self) -> None:
        """Forget the line, and the turn, unless connections are still to come."""
        if self.next < len(self.waiting):
            return
        if self.next > 0:
            self.waiting.clear()
            self.next = 0
        if self.turn is not None:
            self.turn.cancel()
            self.turn = None

    @cython.cfunc
    def _wake(self, life: Life) -> None:
        life.in_line = False
        if life.lost:  # a task that was woken before it has ended it
            return
        try:
            life.after_receiving()
        except Exception as error:
            self._fail(life, error)

    def _fail(self, life: Life, error: Exception) -> None:
        context = {"message": "unexpected error in a connection", "exception": error}
        self.get_loop().call_exception_handler(context)
        life.carrier.abort()

    @cython.cfunc
    def ask_for_turn(self) -> None:
        """Let the loop call us. If a task that we wake runs the loop itself, it must find what we have not done yet."""
        if self.turn is None:
            self.turn = self.get_loop().call_soon(self.take_turn)

    def take_turn(self) -> None:
        """The loop calls this."""
        self.turn = None
        if self.holder is not None:
            self.holder.flush()
        self.note_mode()
        self.wake_all()

    # Frames that wait for those behind them

    @cython.cfunc
    def hold(self, life: Life) -> None:
        """From now on, frames of this connection may wait, unless those of another one do."""
        if self.holder is None:
            self.holder = life
            self.held_since = 0.0
            self.ask_for_turn()

    @cython.cfunc
    def release(self, life: Life) -> None:
        """Frames of this connection wait no more."""
        if self.holder is life:
            self.holder = None

    @cython.cfunc
    def waits_too_long(self, now: cython.double) -> cython.bint:
        """Whether the first frame of the holder has waited for so long that it must leave; called for each of them."""
        if self.held_since == 0.0:
            self.held_since = now
        return now - self.held_since > LONGEST_WAIT

    # Frames of many connections that leave together

    @cython.cfunc
    def gather(self, life: Life) -> None:
        """Write the frames of this connection when the second phase ends, or when the loop turns."""
        if not life.gathered:
            life.gathered = True
            self.gathered.append(life)
            self.ask_for_turn()  # also in the second phase: a task may run the loop itself

    @cython.ccall
    def write_gathered(self) -> cython.bint:
        """Write them now. Returns whether there were any."""
        life: Life
        any_waited: cython.bint = len(self.gathered) > 0
        while self.gathered:
            gathered: list[Life] = self.gathered
            self.gathered = []
            for life in gathered:
                life.gathered = False
                if life.session.outgoing_size > 0:
                    self._write(life)
        return any_waited

    @cython.cfunc
    def _write(self, life: Life) -> None:
        try:
            life.flush()
        except Exception as error:
            self._fail(life, error)
