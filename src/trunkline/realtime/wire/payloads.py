"""Payloads: bytes on the wire, objects in the program; JSON, unless all clients of a channel speak Protobuf."""

from __future__ import annotations

from typing import Any

import msgspec

from trunkline import json
from trunkline.realtime import codes
from trunkline.realtime.codes import Refused
from trunkline.realtime.publication import as_text
from trunkline.realtime.wire.codecs.base import InvalidPayload
from trunkline.realtime.wire.codecs.json import check

__all__ = ["as_tags", "check_json", "check_returned", "decoded", "encode", "encode_json", "typed"]


def encode(value: Any) -> bytes:
    """The payload that says an object of the program: `bytes` as they are, all else as JSON.

    Raises:
        TypeError: if it can't be JSON.
    """
    if isinstance(value, bytes):
        return value
    if hasattr(value, "model_dump_json"):  # pydantic
        return str(value.model_dump_json()).encode()
    return bytes(value) if isinstance(value, msgspec.Raw) else json.encode(value)


def decoded(data: bytes | None) -> Any:
    """A payload as an object, or as it is if it isn't JSON: the object of which `encode` makes the payload."""
    try:
        return None if data is None else json.decode(data)
    except json.InvalidJSON:
        return data


def typed(data: bytes | None, type: Any) -> Any:
    """A payload as a value of a type.

    Args:
        data: the payload; None, there is none, is as good as null.
        type: any that msgspec knows, or a model of pydantic; `bytes` gets it as it came.

    Raises:
        Refused: if it isn't of that type.
    """
    if type is bytes:
        return data or b""
    try:
        if hasattr(type, "model_validate_json"):  # pydantic
            return type.model_validate_json(data or b"null")
        return json.decode(data or b"null", type)
    except json.InvalidJSON as error:
        raise Refused(codes.BAD_REQUEST, str(error)) from None
    except ValueError as error:  # pydantic.ValidationError is one
        raise Refused(codes.BAD_REQUEST, _first_fault(error)) from None


def _first_fault(error: ValueError) -> str:
    """A validation error of pydantic in a line: the fault and its place."""
    faults = error.errors() if hasattr(error, "errors") else []
    if not faults:
        return str(error)
    return f"{faults[0]['msg']} - at `$.{'.'.join(map(str, faults[0]['loc']))}`".replace("`$.`", "`$`")


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
    """An object that a program publishes or sends, as JSON. Only bytes, which the program encoded, may be other.

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


def check_returned(data: bytes, pattern: str) -> None:
    """Check the payload that a publish hook returns. A client isn't told of a fault of the program.

    Args:
        data: the payload.
        pattern: of the channel, for the error.

    Raises:
        ValueError: if it isn't JSON.
    """
    try:
        check(data)
    except InvalidPayload as error:
        raise ValueError(f"the publish hook of {pattern!r} returned bytes that aren't JSON: {error}") from None


def as_tags(tags: dict[str, str] | None) -> dict[str, str] | None:
    """Tags as they go to clients, which the program can't change any more."""
    if tags is None:
        return None
    if not isinstance(tags, dict):
        raise TypeError(f"tags is {tags!r}: it must be a dict of text")
    return {as_text("a name in tags", name): as_text(f"the tag {name!r}", value) for name, value in tags.items()}
