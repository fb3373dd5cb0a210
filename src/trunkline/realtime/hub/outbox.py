"""The messages that wait for one client that reads more slowly than it is sent to.

Most clients never have one: while a connection takes messages, they go straight through. Messages wait as references,
so that many slow clients of one channel share them.

Pushes have a limit, as no client asks for them. Answers have none, since the client's next command waits until the
client has read them. With a limit, a long answer would disconnect a client each time it comes back for it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from trunkline.core.writer import PreparedMessage

__all__ = ["Outbox"]

Sent = Callable[[], None] | None


class Outbox:
    """Messages in the order in which they will leave.

    Args:
        limit: bytes that may wait, not counting answers.

    Attributes:
        size: bytes that do, not counting answers.
        answers: number of answers that wait.
    """

    __slots__ = ("_droppable", "_entries", "_number", "answers", "limit", "size")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.answers = 0
        self._number = 0
        # Messages; the channel that may drop them, "" if none may, None for an answer; a function for when they left.
        self._entries: OrderedDict[object, tuple[PreparedMessage, str | None, Sent]] = OrderedDict()
        self._droppable: dict[str, OrderedDict[object, None]] = {}  # by channel, names of entries, oldest first

    def __len__(self) -> int:
        """How many messages wait."""
        return len(self._entries)

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self.size > self.limit

    @property
    def overflowing(self) -> bool:
        """Whether even those who waited for room have filled it: twice as much waits as may."""
        return self.size > 2 * self.limit

    def append(self, message: PreparedMessage, sent: Sent = None) -> None:
        """Add a message that mustn't get lost; `full` and `overflowing` tell whether that was too much.

        Args:
            message: what must get through.
            sent: called when it was sent.
        """
        self._number += 1
        self._entries[self._number] = message, "", sent
        self.size += len(message)

    def append_answer(self, message: PreparedMessage) -> None:
        """Add the answer to a command."""
        self._number += 1
        self._entries[self._number] = message, None, None
        self.answers += 1

    def append_droppable(self, message: PreparedMessage, channel: str, key: str = "", sent: Sent = None) -> int:
        """Add a publication of a channel that may lose some, the oldest first.

        Args:
            message: the publication.
            channel: name of its channel.
            key: it takes the place of the one that waits with the same key; "" for none.
            sent: called when it was sent.

        Returns:
            How many were dropped, perhaps this one among them.
        """
        waiting = self._droppable.setdefault(channel, OrderedDict())
        self._number += 1
        name: object = (channel, key) if key else self._number
        dropped = 0
        if name in waiting:
            self._remove(name)
            dropped += 1
        self._entries[name] = message, channel, sent
        waiting[name] = None
        self.size += len(message)
        while self.size > self.limit and waiting:
            self._remove(next(iter(waiting)))
            dropped += 1
        return dropped

    def _remove(self, name: object) -> None:
        message, channel, _ = self._entries.pop(name)
        if channel is None:
            self.answers -= 1
            return
        self.size -= len(message)
        if channel:
            del self._droppable[channel][name]

    def flush(self, send: Callable[[PreparedMessage], bool]) -> None:
        """Send until all is sent, or `send` returns False: it didn't take the message."""
        while self._entries:
            name, (message, _, sent) = next(iter(self._entries.items()))
            if not send(message):
                return
            self._remove(name)
            if sent is not None:
                sent()
