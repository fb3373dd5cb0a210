"""Received messages on their way to the application, whole or in fragments.

Water marks count frames: above `high` the driver stops reading from the peer, at `low` it reads again, so that an
application which does not keep up slows its peer down instead of growing memory.
"""

from __future__ import annotations

from typing import Any

try:
    import cython
except ImportError:
    from trunkline.core import _cython as cython  # type: ignore[no-redef]

__all__ = ["Fragment", "Inbox", "convert"]


class Fragment:
    """One frame of a fragmented message (RFC 6455 section 5.4). Text is valid UTF-8 as far as it goes."""

    __slots__ = ("data", "fin", "text")

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


@cython.cclass
class Inbox:
    """A queue of messages. Whole ones are kept as the str or bytes they are, fragmented ones as `Fragment` objects.

    `high` and `low` are numbers of frames; `high=None` never pauses.
    """

    def __init__(self, high: int | None = None, low: int | None = None) -> None:
        self.items: list[Any] = []  # str, bytes, Fragment, and None where one was taken
        self.head = 0  # items before it were taken
        self.assembling: list[Fragment] = []  # fragments of the message that recv() is collecting
        self.high = -1 if high is None else high
        self.low = 0 if low is None else low
        self.paused = False
        self.busy = False  # the application took something and did not come back for more

    def __len__(self) -> int:
        return len(self.items) - self.head

    @cython.ccall
    def put(self, item: object) -> None:
        self.items.append(item)

    @cython.ccall
    def overflows(self) -> cython.bint:
        """Whether the driver should stop reading now."""
        return not self.paused and self.high >= 0 and len(self.items) - self.head > self.high

    @cython.ccall
    def drained(self) -> cython.bint:
        """Whether a driver that stopped reading should go on."""
        return self.paused and len(self.items) - self.head <= self.low

    @cython.ccall
    def unanswered(self) -> cython.bint:
        """Whether the application may have something to say to what was received: it has not asked for more in vain."""
        return self.busy or self.head < len(self.items)

    @cython.ccall
    def take(self) -> Any:
        """The next whole message, or None when it is not there yet. Fragments taken so far wait for the next call."""
        item: object
        while self.head < len(self.items):
            item = self._pop()
            if not isinstance(item, Fragment):
                return item
            self.assembling.append(item)
            if item.fin:
                return self._assembled()
        self.busy = False
        return None

    @cython.ccall
    def ready(self) -> cython.bint:
        """Whether `take` has a message to give. Makes room for more fragments of one that is incomplete."""
        item: object
        while self.head < len(self.items):
            item = self.items[self.head]
            if not isinstance(item, Fragment) or item.fin:
                return True
            self.assembling.append(self._pop())
        return False

    def take_fragment(self) -> str | bytes | Fragment | None:
        """The next whole message or the next fragment of one, or None."""
        if self.assembling:
            return self.assembling.pop(0)
        self.busy = self.head < len(self.items)
        return self._pop() if self.busy else None

    @cython.cfunc
    def _pop(self) -> Any:
        item: object = self.items[self.head]
        self.items[self.head] = None
        self.head += 1
        self.busy = True
        if self.head == len(self.items):
            self.items.clear()
            self.head = 0
        elif self.head >= 256 and self.head * 2 > len(self.items):
            del self.items[: self.head]
            self.head = 0
        return item

    def _assembled(self) -> str | bytes:
        fragments = self.assembling
        self.assembling = []
        data = b"".join([fragment.data for fragment in fragments])
        return data.decode() if fragments[0].text else data
