"""The publications that travel through a channel, and their places in it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

__all__ = ["ClientInfo", "Publication", "StreamPosition", "as_text"]


class StreamPosition(NamedTuple):
    """A place in the history of a channel: after the publication with this offset.

    Attributes:
        offset: grows with every publication that enters the history; 0 in channels without history.
        epoch: offsets with the same epoch count the same publications; a broker that lost its state has a new one.
            "" in channels without history.
    """

    offset: int = 0
    epoch: str = ""


class ClientInfo(msgspec.Struct, frozen=True):
    """The facts about a publisher or a member (`ClientInfo` of the client protocol).

    Attributes:
        user: id of the user; "" if anonymous.
        client: id of the connection, unique.
        conn_info: what the server attached to the connection, encoded; JSON, unless all clients of the channel speak
            Protobuf. None if nothing.
        chan_info: the same for the subscription.
    """

    user: str = ""
    client: str = ""
    conn_info: bytes | None = None
    chan_info: bytes | None = None


class Publication(msgspec.Struct):
    """A message in a channel (`Publication` of the client protocol).

    Attributes:
        data: the payload, encoded; JSON, unless all clients of the channel speak Protobuf.
        offset: place in the history of the channel, written by the broker; 0 in channels without history.
        time: when the broker accepted it, in milliseconds since 1970; written by the broker.
        info: who published; None for the server.
        tags: what the server wants to say about it; None if nothing.
        key: what it is the newest state of, for channels that conflate; "" if nothing.
    """

    data: bytes
    offset: int = 0
    time: int = 0
    info: ClientInfo | None = None
    tags: dict[str, str] | None = None
    key: str = ""


def as_text(what: str, value: str) -> str:
    """Text of the program that clients are told, as a plain str.

    Args:
        what: the name of the value, for errors.

    Raises:
        TypeError: if it isn't text.
        ValueError: if it has half of a surrogate pair, which UTF-8 can't say.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}: it must be text (str)")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} is {value!r}, which has half of a surrogate pair: it can't be sent") from None
    return str.__str__(value)  # of a subclass, such as a member of an enumeration, the text alone
