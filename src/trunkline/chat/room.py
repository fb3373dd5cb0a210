"""The rules of a chat room: who is here, who hears what, and how much one may say.

A room opens no socket and starts no task. It is told what was received and answers with what the sender alone should
read; what everybody should read it hands to ``fan_out``, encoded once for pages and once for plain clients.
"""

from __future__ import annotations

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from trunkline.chat.envelopes import SUBPROTOCOL, Binary, Error, Hello, Message, Person, Presence, Welcome, decode
from trunkline.chat.rate import TokenBucket

__all__ = ["Limits", "Member", "Peer", "Room", "clean_name"]

NAME_LENGTH = 40
ZERO_WIDTH_JOINER = "\u200d"  # not printable, but it holds emoji together


class Transport(Protocol):
    """What a room asks of an asyncio transport."""

    def get_write_buffer_size(self) -> int: ...
    def abort(self) -> None: ...


class Peer(Protocol):
    """What a room asks of a connection."""

    @property
    def subprotocol(self) -> str | None: ...
    @property
    def transport(self) -> Any: ...


@dataclass(frozen=True)
class Limits:
    """What a room puts up with.

    Args:
        max_size: bytes in one message.
        rate: messages per second from one client, in the long run.
        burst: seconds' worth of messages that a client may send at once.
        backlog: bytes that a client may leave unread before it is dropped.
        history: messages that somebody who comes in is shown.
        people: names in the list of those who are here.
        presence_delay: seconds between two lists of who is here, for each thousand people.
    """

    max_size: int = 65_536
    rate: float = 20
    burst: float = 5
    backlog: int = 1_048_576  # beyond this, trunkline.broadcast passes a client over
    history: int = 100
    people: int = 200
    presence_delay: float = 1.0


class Member:
    """Somebody in a room."""

    def __init__(self, connection: Peer, number: int, limits: Limits) -> None:
        self.connection = connection
        self.number = number
        self.name = f"guest-{number}"
        self.bucket = TokenBucket(limits.rate, max(1.0, limits.rate * limits.burst))
        self.refused = 0

    @property
    def on_page(self) -> bool:
        """Whether this client speaks envelopes, as the page does."""
        return self.connection.subprotocol == SUBPROTOCOL


class Room:
    """One chat room.

    Args:
        name: as in the path ``/rooms/NAME``; empty for the room at ``/``.
        fan_out: sends one message to many connections without waiting, like :func:`trunkline.broadcast`.
        call_later: runs a function after some seconds, like :meth:`asyncio.loop.call_later`.
        limits: what the room puts up with.
        clock: seconds that never go back, for rates.
        wall_clock: seconds since 1970, UTC, for the times of messages.
    """

    def __init__(
        self,
        name: str,
        *,
        fan_out: Callable[..., None],
        call_later: Callable[[float, Callable[[], None]], object],
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self.members: dict[Peer, Member] = {}
        self.history: deque[msgspec.Raw] = deque(maxlen=self.limits.history)
        self._fan_out = fan_out
        self._call_later = call_later
        self._clock = clock
        self._wall_clock = wall_clock
        self._joined = 0
        self._presence_due = False

    def join(self, connection: Peer) -> Member:
        """Let somebody in, under a guest's name."""
        self._joined += 1
        member = Member(connection, self._joined, self.limits)
        self.members[connection] = member
        self._presence_changed()
        return member

    def leave(self, member: Member) -> None:
        """See somebody out."""
        del self.members[member.connection]
        self._presence_changed()

    def welcome(self, member: Member) -> bytes:
        """The first envelope for somebody who came in with a page."""
        return msgspec.json.encode(Welcome(member.number, member.name, self.limits.max_size, list(self.history)))

    def receive(self, member: Member, data: str | bytes) -> bytes | None:
        """Do what a member's message asks for.

        Returns:
            Text for this member alone, in UTF-8: why the message was refused. ``None`` if it was not.
        """
        receive = self._receive_envelope if member.on_page else self._receive_plain
        return receive(member, data)

    def _receive_plain(self, member: Member, data: str | bytes) -> bytes | None:
        if not member.bucket.take(self._clock()):
            return f"[trunkline] {self._refusal(member)}".encode()
        if isinstance(data, str):
            self._say(member, uuid.uuid4().hex, data)
        else:
            self._pass_on_binary(member, data)
        return None

    def _receive_envelope(self, member: Member, data: str | bytes) -> bytes | None:
        allowed = member.bucket.take(self._clock())
        try:
            envelope = decode(data)
        except ValueError as error:
            return msgspec.json.encode(Error(f"not understood: {error}"))
        if not allowed:
            return msgspec.json.encode(Error(self._refusal(member), getattr(envelope, "id", "")))
        if isinstance(envelope, Hello):
            self._rename(member, envelope.name)
        else:
            self._say(member, envelope.id, envelope.text)
        return None

    def _refusal(self, member: Member) -> str:
        member.refused += 1
        return (
            f"not sent: at most {self.limits.rate:g} messages per second are passed on, "
            f"wait a moment and send it again ({member.refused} refused so far)"
        )

    def _rename(self, member: Member, name: str) -> None:
        member.name = clean_name(name) or f"guest-{member.number}"
        self._presence_changed()

    def _say(self, member: Member, id: str, text: str) -> None:
        self._drop_the_slow()
        self._tell_pages(Message(id, member.name, text, self._wall_clock()))
        self._tell_plain(text.encode(), text=True)

    def _pass_on_binary(self, member: Member, data: bytes) -> None:
        self._drop_the_slow()
        self._tell_pages(Binary(uuid.uuid4().hex, member.name, len(data), self._wall_clock()))
        self._tell_plain(data, text=False)

    def _tell_pages(self, envelope: Message | Binary) -> None:
        encoded = msgspec.json.encode(envelope)
        self.history.append(msgspec.Raw(encoded))
        self._fan_out(self._pages(), encoded, text=True)

    def _tell_plain(self, data: bytes, *, text: bool) -> None:
        self._fan_out([peer for peer, member in self.members.items() if not member.on_page], data, text=text)

    def _pages(self) -> Iterable[Peer]:
        return [peer for peer, member in self.members.items() if member.on_page]

    def _drop_the_slow(self) -> None:
        # Sending to everybody waits for nobody, so who does not read would miss messages. Better lose the connection,
        # which is noticed, than a message, which is not.
        for peer in self.members:
            if peer.transport.get_write_buffer_size() > self.limits.backlog:
                peer.transport.abort()

    def _presence_changed(self) -> None:
        # A list grows with the room and so does the number of its readers: in a large room lists must be rarer.
        if not self._presence_due:
            self._presence_due = True
            self._call_later(self.limits.presence_delay * len(self.members) / 1000, self._send_presence)

    def _send_presence(self) -> None:
        self._presence_due = False
        members = list(self.members.values())
        people = [Person(member.number, member.name) for member in members[: self.limits.people]]
        self._fan_out(self._pages(), msgspec.json.encode(Presence(people, len(members))), text=True)


def clean_name(name: str) -> str:
    """Keep of a name what can be shown on one line: printable characters, single spaces, 40 of them at most."""
    shown = (char if char.isprintable() or char == ZERO_WIDTH_JOINER else " " for char in name)
    return " ".join("".join(shown).split())[:NAME_LENGTH].strip()
