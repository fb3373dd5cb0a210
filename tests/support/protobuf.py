"""The client protocol in Protobuf, said and read by the official schema, as the objects that it is in JSON."""

from __future__ import annotations

import base64
import json
from typing import Any

from centrifuge.protocol import client_pb2 as schema
from google.protobuf.json_format import MessageToDict, ParseDict

PAYLOADS = {"data", "conn_info", "chan_info"}
NUMBERS = {"offset", "time"}  # 64 bits are text in the JSON form of Protobuf


def frame_of(*commands: dict[str, Any]) -> bytes:
    """A frame of commands. Payloads that are bytes stay as they are."""
    return b"".join(_delimited(ParseDict(_to_base64(each), schema.Command()).SerializeToString()) for each in commands)


def replies_in(frame: bytes) -> list[Any]:
    """The replies in a frame."""
    replies = []
    while frame:
        size, frame = _varint(frame)
        reply = schema.Reply.FromString(frame[:size])
        replies.append(_from_base64(MessageToDict(reply, preserving_proto_field_name=True)))
        frame = frame[size:]
    return replies


def _to_base64(value: Any, name: str = "") -> Any:
    if name in PAYLOADS:
        return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()
    if isinstance(value, dict):
        return {key: _to_base64(each, key) for key, each in value.items()}
    return value


def _from_base64(value: Any, name: str = "") -> Any:
    if name in PAYLOADS and isinstance(value, str):
        return json.loads(base64.b64decode(value))
    if name in NUMBERS and isinstance(value, str):
        return int(value)
    if isinstance(value, dict):
        return {key: _from_base64(each, key) for key, each in value.items()}
    return [_from_base64(each) for each in value] if isinstance(value, list) else value


def _delimited(data: bytes) -> bytes:
    size, prefix = len(data), bytearray()
    while size > 0x7F:
        prefix.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*prefix, size]) + data


def _varint(data: bytes) -> tuple[int, bytes]:
    """The number at the start, and what follows it."""
    number = shift = 0
    for position, byte in enumerate(data):
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, data[position + 1 :]
        shift += 7
    raise AssertionError("a frame ends within a number")
