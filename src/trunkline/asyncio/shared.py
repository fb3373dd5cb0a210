"""The things that the connections on one event loop have in common."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from trunkline.asyncio.awaitables import Sends
from trunkline.asyncio.deadlines import Deadlines, HasDeadline, clock_of
from trunkline.endpoint.life import Life
from trunkline.endpoint.line import Line

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

__all__ = ["Shared", "shared_on"]


@cython.final
@cython.cclass
class Shared(Line):
    """The line of an event loop, its clock, the deadlines of its connections, and the result of a `send`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.sends = Sends(self.get_loop)
        self.clock = clock_of(loop)
        self.deadlines = Deadlines(loop)

    def wake_at(self, life: Life, deadline: float) -> float:
        return self.move_deadline(life, life.due, deadline)

    def move_deadline(self, waiting: HasDeadline, due: float, deadline: float) -> float:
        """Call `on_due` of `waiting` at `deadline` instead of at `due`, 0 for never; returns when that will be."""
        self.forget_deadline(waiting, due)
        return self.deadlines.add(waiting, deadline)

    def forget_deadline(self, waiting: HasDeadline, due: float) -> None:
        """Don't call `on_due` of `waiting` at `due`, 0 for never."""
        if due > 0:
            self.deadlines.remove(waiting, due)

    def hand_over_deadline(self, waiting: HasDeadline, heir: HasDeadline, due: float) -> None:
        """Call `on_due` of `heir` at `due` instead, which costs less than another deadline would."""
        if due > 0:
            self.deadlines.replace(waiting, heir, due)


# It refers to its loop: with a strong reference here no loop would ever be freed.
_shared_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Shared]] = weakref.WeakKeyDictionary()


def shared_on(loop: asyncio.AbstractEventLoop) -> Shared:
    """The one `Shared` of a loop, as long as there are connections."""
    reference = _shared_by_loop.get(loop)
    shared = None if reference is None else reference()
    if shared is None:
        shared = Shared(loop)
        _shared_by_loop[loop] = weakref.ref(shared)
    return shared
