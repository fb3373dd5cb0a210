"""What pages and the chat room say to each other: JSON envelopes, told apart by their ``type``.

A page asks for the subprotocol :data:`SUBPROTOCOL` and then speaks envelopes. A client that asks for no subprotocol
sends and receives plain text instead, and never meets an envelope.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from trunkline.typing import Subprotocol

__all__ = ["SUBPROTOCOL", "Binary", "Error", "Hello", "Message", "Person", "Presence", "Say", "Welcome", "decode"]

SUBPROTOCOL = Subprotocol("trunkline.chat")


# From a page to the room


class Hello(msgspec.Struct, tag="hello", frozen=True):
    """The name somebody wants to be known by. May be sent again, to change it."""

    name: str


class Say(msgspec.Struct, tag="message", frozen=True):
    """A text for everybody. The page chooses ``id``, and knows its own message by it when it comes back."""

    id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    text: Annotated[str, msgspec.Meta(min_length=1)]


# From the room to a page


class Message(msgspec.Struct, tag="message", frozen=True):
    """A text that somebody said. ``time`` is in seconds since 1970, UTC."""

    id: str
    name: str
    text: str
    time: float


class Binary(msgspec.Struct, tag="binary", frozen=True):
    """A client without a page sent ``size`` bytes, which went to the other clients without a page."""

    id: str
    name: str
    size: int
    time: float


class Welcome(msgspec.Struct, tag="welcome", frozen=True):
    """First envelope to a page: who it is, the longest envelope in bytes, and the latest messages, oldest first."""

    you: int
    name: str
    max_size: int
    history: list[msgspec.Raw]


class Person(msgspec.Struct, frozen=True):
    """Somebody in the room."""

    id: int
    name: str


class Presence(msgspec.Struct, tag="presence", frozen=True):
    """Who is here. ``people`` stops at a limit; ``count`` does not."""

    people: list[Person]
    count: int


class Error(msgspec.Struct, tag="error", frozen=True):
    """Something was refused: the message called ``id``, or, where that is empty, the envelope that was just sent."""

    reason: str
    id: str = ""


_decoder: msgspec.json.Decoder[Hello | Say] = msgspec.json.Decoder(Hello | Say)


def decode(data: str | bytes) -> Hello | Say:
    """Read one envelope from a page.

    Raises:
        ValueError: the envelope is binary, is not JSON, or does not have the fields of its type.
    """
    if isinstance(data, bytes):
        raise ValueError("an envelope is text, and this message was binary")
    return _decoder.decode(data)
