"""The rules of the chat rooms: who may say what, how it is passed on, and when it is forgotten.

A room is a channel of `trunkline.realtime`. Pages speak the protocol of channels. Any other client sends plain text and
gets plain text, and never meets that protocol.
"""

from __future__ import annotations

import asyncio
import itertools
import uuid
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote, unquote

import msgspec

from trunkline import realtime
from trunkline.asyncio.server import ServerConnection
from trunkline.realtime import Client, Realtime, Refused
from trunkline.realtime.codes import TOO_MANY_REQUESTS, UNKNOWN_CHANNEL
from trunkline.realtime.limits import Rate, TokenBucket

__all__ = ["Limits", "Message", "Rooms", "Who", "channel_of", "clean_name", "is_room_name"]

NAME_LENGTH = 40
ROOM_NAME_LENGTH = 64
ZERO_WIDTH_JOINER = "\u200d"  # not printable, but it holds emoji together
UNESCAPED = "!'()*"  # what encodeURIComponent of JavaScript leaves alone, and quote does not
HISTORY_TTL = 30 * 24 * 3600.0  # seconds
CHANNELS = 8  # of one client: a page has two
SIGNS = Rate(10, 20)  # of typing, from one client in a room


@dataclass(frozen=True)
class Limits:
    """The limits of the rooms.

    Args:
        max_size: bytes in one message.
        rate: messages per second from one client, in the long run.
        burst: seconds' worth of messages that a client may send at once.
        backlog: bytes that a client may leave unread before it is disconnected.
        history: messages that the page shows to a person who comes in.
        memory: seconds for which a room without people is remembered, where there is no store.
    """

    max_size: int = 65_536
    rate: float = 20
    burst: float = 5
    backlog: int = 1_048_576
    history: int = 100
    memory: float = 60


class Who(msgspec.Struct):
    """The data with which a page connects: the name that its user wants to be known by."""

    name: str = ""


class Message(msgspec.Struct, omit_defaults=True):
    """A message in a room.

    Args:
        id: chosen by the sender; the page knows its own message by it when it comes back.
        text: what was said.
        binary: what was sent by a plain client, if it is no text; in JSON, in Base64.
    """

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    text: str = ""
    binary: bytes | None = None


class Rooms:
    """All rooms: "lobby", and "room:NAME" for any name; beside each a channel that tells who is typing.

    Args:
        limits: what they put up with.
        store: URL of where they keep what was said; see `Realtime`.
    """

    def __init__(self, limits: Limits, store: str) -> None:
        self.limits = limits
        self.realtime = Realtime(
            store, limits=realtime.Limits(channels=CHANNELS, history=limits.history, queue=limits.backlog)
        )
        self.realtime.on_connect(self._connect)
        self._forgets = store == "memory://"
        self._forgetting: set[asyncio.Task[None]] = set()
        self._guests = itertools.count(1)
        for pattern in ("lobby", "room:{name}"):
            self._declare(pattern)

    async def serve_plain(self, connection: ServerConnection, channel: str) -> None:
        """Serve a client that sends plain text to one room and gets what is said there."""
        await self.realtime.plain(connection, channel, info={"name": self._guest()})

    async def close(self) -> None:
        """Disconnect all clients, and close the store."""
        self._forgets = False
        for task in self._forgetting:
            task.cancel()
        await self.realtime.close()

    def _declare(self, pattern: str) -> None:
        room = self.realtime.channel(
            pattern,
            history=self.limits.history,
            ttl=HISTORY_TTL,
            presence=True,
            join_leave=True,
            publish="subscribers",
        )
        room(check_name)
        room.on_publish(self._say)
        room.from_plain(from_plain)
        room.to_plain(to_plain)
        room.on_unsubscribe(lambda client, **parameters: self._left(room.pattern.format(**parameters)))
        typing = self.realtime.channel(f"typing:{pattern}", publish="subscribers", rate=SIGNS)
        typing(check_name)
        typing.on_publish(lambda client, anything: {})  # the sign is all there is to say

    def _connect(self, client: Client, who: Who | None) -> dict[str, Any]:
        name = clean_name(who.name if who else "") or self._guest()
        client.info = {"name": name}
        return {"name": name, "max_size": self.limits.max_size}

    def _say(self, client: Client, message: Message) -> Message:
        if client.data is None:
            client.data = Speaker(self.limits)
        if not client.data.may_speak(asyncio.get_running_loop().time()):
            raise Refused(
                TOO_MANY_REQUESTS,
                f"not sent: at most {self.limits.rate:g} messages per second are passed on, "
                f"wait a moment and send it again ({client.data.refused} refused so far)",
            )
        return message  # without what it may have had besides

    def _guest(self) -> str:
        return f"guest-{next(self._guests)}"

    def _left(self, channel: str) -> None:
        if self._forgets:
            task = asyncio.get_running_loop().create_task(self._forget(channel))
            self._forgetting.add(task)
            task.add_done_callback(self._forgetting.discard)

    async def _forget(self, channel: str) -> None:
        """Without this, a client that walks through ever new rooms would fill the memory."""
        await asyncio.sleep(self.limits.memory)
        if not (await self.realtime.presence_stats(channel)).clients:
            await self.realtime.broker.remove_history(channel)


class Speaker:
    """How much a client has said."""

    def __init__(self, limits: Limits) -> None:
        self.bucket = TokenBucket(Rate(limits.rate, max(1.0, limits.rate * limits.burst)))
        self.refused = 0

    def may_speak(self, now: float) -> bool:
        """Whether it may say one thing more, at a time in seconds."""
        allowed = self.bucket.take(now)
        self.refused += not allowed
        return allowed


def channel_of(room: str) -> str:
    """The channel of a room; "" is the lobby."""
    return f"room:{quote(room, safe=UNESCAPED)}" if room else "lobby"


def is_room_name(name: str) -> bool:
    """Whether a room may have this name."""
    return 0 < len(name) <= ROOM_NAME_LENGTH and not set(name) & {"/", "%"} and name.isprintable()


def clean_name(name: str) -> str:
    """Keep of a name what can be shown on one line: printable characters, single spaces, 40 of them at most."""
    shown = (char if char.isprintable() or char == ZERO_WIDTH_JOINER else " " for char in name)
    return " ".join("".join(shown).split())[:NAME_LENGTH].strip()


def check_name(client: Client, **parameters: str) -> None:
    """Refuse a channel that is not `channel_of` a room."""
    for quoted in parameters.values():
        name = unquote(quoted)
        if not is_room_name(name) or quote(name, safe=UNESCAPED) != quoted:
            raise Refused(UNKNOWN_CHANNEL, "there is no room of this name")


def from_plain(message: str | bytes) -> Message:
    """The message in the room for one that a plain client sends."""
    id = uuid.uuid4().hex
    return Message(id, text=message) if isinstance(message, str) else Message(id, binary=message)


def to_plain(message: Message) -> str | bytes:
    """The message that a plain client gets for one in the room."""
    return message.text if message.binary is None else message.binary
