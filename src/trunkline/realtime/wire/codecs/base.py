"""The common parts of the encodings."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from trunkline.core.writer import PreparedMessage
from trunkline.exceptions import WebSocketException
from trunkline.realtime.publication import ClientInfo, Publication
from trunkline.realtime.wire import messages
from trunkline.realtime.wire.messages import Command, Data, Garbled, PublishResult, Push, Reply

__all__ = ["HALF", "MOST_COMMANDS", "Codec", "InvalidFrame", "InvalidPayload", "too_many"]

MOST_COMMANDS: Final = 10_000
"""Commands in a frame: more than any client has to say at once. In Protobuf, a command may be as short as one byte, and
while a frame is taken apart, nobody else has their turn."""


HALF: Final = "it has half of a surrogate pair, as of an emoji that was cut in two"
"""What is wrong with a command that is `Garbled`."""


class InvalidFrame(WebSocketException, ValueError):  # noqa: N818  # a sibling of InvalidJSON
    """A client sent what isn't a frame of commands."""


class InvalidPayload(WebSocketException, ValueError):  # noqa: N818
    """A payload can't be said in this encoding: it isn't JSON."""


class Codec(ABC):
    """One encoding of frames. A frame is one WebSocket message with any number of commands or replies.

    Attributes:
        name: "json" or "protobuf".
        events: whether it can say more than publications, such as who joined.
        several: whether a frame can have more than one publication.
        binary: whether it can say payloads other than JSON.
    """

    name: str
    events = True
    several = True
    binary = True
    pong: str | bytes = b""  # the frame in which a client answers a ping

    @functools.cached_property
    def ping(self) -> PreparedMessage:
        """The frame that asks the client whether it is there."""
        return self.encode([Reply()])

    @abstractmethod
    def decode(self, frame: str | bytes) -> Sequence[Command | Garbled]:
        """The commands in a frame, in their order.

        Raises:
            InvalidFrame: if it isn't one.
        """

    @abstractmethod
    def encode(self, replies: Iterable[Reply]) -> PreparedMessage:
        """A frame of replies."""

    @abstractmethod
    def payload(self, data: bytes | None) -> Data:
        """A payload as it goes into messages.

        Raises:
            InvalidPayload: if this encoding can't say it.
        """

    def published(self, id: int) -> PreparedMessage:
        """The answer to a publish command."""
        return self.encode([Reply(id, publish=PublishResult())])

    def push(self, channel: str, *publications: Publication) -> PreparedMessage | None:
        """The frame that delivers publications, one if not `several`; None if they aren't for who speaks this encoding.

        Raises:
            InvalidPayload: if this encoding can't say what is in them.
        """
        return self.encode([Reply(push=Push(channel, pub=self.publication(each))) for each in publications])

    def publication(self, publication: Publication) -> messages.Publication:
        """A publication as it goes into messages.

        Raises:
            InvalidPayload: if this encoding can't say what is in it.
        """
        info = None if publication.info is None else self.info(publication.info)
        return messages.Publication(
            self.payload(publication.data), info, publication.offset, publication.tags or {}, publication.time
        )

    def told(self, publication: Publication) -> tuple[Any, int]:
        """A publication as it stands in a reply, and how many bytes it takes; encoded, if this encoding can.

        Raises:
            InvalidPayload: if this encoding can't say what is in it.
        """
        return self.publication(publication), len(publication.data)

    def info(self, info: ClientInfo) -> messages.ClientInfo:
        """The facts about a client, as they go into messages."""
        return messages.ClientInfo(info.user, info.client, self.extra(info.conn_info), self.extra(info.chan_info))

    def extra(self, data: bytes | None) -> Data:
        """A payload that says something besides: it is left out if this encoding can't say it."""
        try:
            return self.payload(data)
        except InvalidPayload:
            return msgspec.UNSET


def too_many() -> InvalidFrame:
    """The fault of a frame of more than `MOST_COMMANDS`."""
    return InvalidFrame(f"more than {MOST_COMMANDS:,} commands in a frame")


def raw(data: bytes | None) -> Data:
    """A payload that stays as it is; an empty one is none."""
    return msgspec.Raw(data) if data else msgspec.UNSET
