"""Received messages on their way to the application, whole or in fragments.

Water marks count frames: above `high` the driver stops reading from the peer, at `low` it reads again. So a program
that does not keep up slows its peer down, and memory doesn't grow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

__all__ = ["Fragment", "Inbox", "convert"]


@cython.final
@cython.cclass
class Fragment:
    """One frame of a fragmented message (RFC 6455 section 5.4). Text is valid UTF-8 as far as it goes."""

    def __init__(self, data: bytes, text: bool, fin: bool) -> None:
        self.data = data
        self.text = text
        self.fin = fin


def convert(message: str | bytes, decode: bool | None) -> str | bytes:
    """A message as `recv(decode=...)` wants it: None as it came, True as str, False as bytes.

    Raises:
        UnicodeDecodeError: if `decode` is True and a binary message is not UTF-8.
    """
    if decode is None or isinstance(message, str) is decode:
        return message
    return message.encode() if isinstance(message, str) else message.decode()


@cython.final
@cython.cclass
class Inbox:
    """A queue of messages. Whole ones are kept as the str or bytes they are, fragmented ones as `Fragment` objects.

    Most of the time one message comes and is taken before the next one: it needs no list.

    `high` and `low` are numbers of frames; `high=None` never pauses.
    """

    def __init__(self, high: int | None = None, low: int | None = None) -> None:
        self.first: Any = None  # str, bytes or Fragment; the next ones are in `items`
        self.items: list[Any] | None = None  # None, also in the list, where an item was taken
        self.head = 0  # items before it were taken
        self.assembling: list[Fragment] | None = None  # fragments of the message that recv() is collecting
        self.high = -1 if high is None else high
        self.low = 0 if low is None else low
        self.paused = False
        self.busy = False  # the application took something and did not come back for more

    def __len__(self) -> int:
        return self.size()

    @cython.ccall
    def size(self) -> cython.Py_ssize_t:
        n: cython.Py_ssize_t = 0 if self.first is None else 1
        return n if self.items is None else n + len(self.items) - self.head

    @cython.ccall
    def put(self, item: object) -> None:
        if self.items is not None:
            self.items.append(item)
        elif self.first is None:
            self.first = item
        else:
            self.items = [item]

    @cython.ccall
    def overflows(self) -> cython.bint:
        """Whether the driver should stop reading now."""
        return not self.paused and self.high >= 0 and self.size() > self.high

    @cython.ccall
    def drained(self) -> cython.bint:
        """Whether a driver that stopped reading should go on."""
        return self.paused and self.size() <= self.low

    @cython.ccall
    def unanswered(self) -> cython.bint:
        """Whether the application may have something to say to what was received: it has not asked for more in vain."""
        return self.busy or self.size() > 0

    @cython.ccall
    def take(self) -> Any:
        """The next whole message, or None when it is not there yet. Fragments taken so far wait for the next call."""
        item: object
        while True:
            item = self._pop()
            if item is None:
                self.busy = False
                return None
            if not isinstance(item, Fragment):
                return item
            self._assemble(item)
            if item.fin:
                return self._assembled()

    @cython.ccall
    def ready(self) -> cython.bint:
        """Whether `take` has a message to give. Makes room for more fragments of one that is incomplete."""
        item: object
        while True:
            item = self._next()
            if item is None:
                return False
            if not isinstance(item, Fragment) or item.fin:
                return True
            self._assemble(item)
            self._pop()

    def take_fragment(self) -> str | bytes | Fragment | None:
        """The next whole message or the next fragment of one, or None."""
        if self.assembling:
            return self.assembling.pop(0)
        item: str | bytes | Fragment | None = self._pop()
        self.busy = item is not None
        return item

    @cython.cfunc
    def _next(self) -> Any:
        """The item that `_pop` would take, or None."""
        if self.first is not None or self.items is None:
            return self.first
        return self.items[self.head]

    @cython.cfunc
    def _pop(self) -> Any:
        item: object = self.first
        if item is not None:
            self.first = None
        elif self.items is not None:
            item = self.items[self.head]
            self.items[self.head] = None
            self.head += 1
            if self.head == len(self.items):
                self.items = None
                self.head = 0
            elif self.head >= 256 and self.head * 2 > len(self.items):
                del self.items[: self.head]
                self.head = 0
        else:
            return None
        self.busy = True
        return item

    @cython.cfunc
    def _assemble(self, fragment: Fragment) -> cython.int:
        if self.assembling is None:
            self.assembling = []
        self.assembling.append(fragment)
        return 0

    def _assembled(self) -> str | bytes:
        fragments = self.assembling or []
        self.assembling = None
        data = b"".join([fragment.data for fragment in fragments])
        return data.decode() if fragments[0].text else data
