"""What may be published, and how what was published goes into an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trunkline.realtime import codes
from trunkline.realtime.codecs.base import InvalidPayload
from trunkline.realtime.codecs.json import check
from trunkline.realtime.codes import Refused
from trunkline.realtime.hooks import encode
from trunkline.realtime.publication import as_text

if TYPE_CHECKING:
    from trunkline.realtime import messages
    from trunkline.realtime.channels import Channel
    from trunkline.realtime.client import Client
    from trunkline.realtime.publication import Publication

__all__ = ["as_tags", "as_told", "check_json", "check_returned", "encode_json"]


def check_json(data: bytes) -> None:
    """Check that a payload is JSON.

    Raises:
        Refused: if it isn't.
    """
    try:
        if not data:
            raise InvalidPayload("it is empty")
        check(data)
    except InvalidPayload as error:
        raise Refused(codes.BAD_REQUEST, f"data must be JSON: {error}") from None


def encode_json(obj: Any) -> bytes:
    """What a program publishes or sends, as JSON. Only what it encoded itself may not be.

    Raises:
        TypeError: if it can't be JSON.
        ValueError: if it isn't.
    """
    data = encode(obj)
    try:
        check_json(data)
    except Refused as refused:
        raise ValueError(refused.message) from None
    return data


def as_tags(tags: dict[str, str] | None) -> dict[str, str] | None:
    """Tags as they go to clients, which the program can't change any more."""
    if tags is None:
        return None
    if not isinstance(tags, dict):
        raise TypeError(f"tags is {tags!r}: it must be a dict of text")
    return {as_text("a name in tags", name): as_text(f"the tag {name!r}", value) for name, value in tags.items()}


def check_returned(data: bytes, channel: Channel) -> None:
    """Check what a publish hook returns. A client isn't told of a fault of the program.

    Raises:
        ValueError: if it isn't JSON.
    """
    try:
        check(data)
    except InvalidPayload as error:
        name = channel.pattern.text
        raise ValueError(f"the publish hook of {name!r} returned bytes that aren't JSON: {error}") from None


def as_told(client: Client, publications: list[Publication]) -> list[messages.Publication]:
    """Publications as they go into a reply.

    Raises:
        Refused: if one can't be said in the client's encoding. The client library would try again for ever after an
            error that is temporary.
    """
    try:
        return [client.codec.publication(each) for each in publications]
    except InvalidPayload as error:
        raise Refused(codes.NOT_AVAILABLE, str(error)) from None
