"""Protobuf: messages of the schema below, each with its length before it, in binary messages.

`FIELDS` has the numbers of the fields, the classes in `messages` their names and types. Together they are the schema,
from which readers and writers are made for each message. The wire format is that of
https://protobuf.dev/programming-guides/encoding/, of which the schema needs little: no groups, no packed lists. A field
that is there twice has its last value.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

from trunkline.core.writer import PreparedMessage
from trunkline.realtime.wire import messages as m
from trunkline.realtime.wire.codecs.base import MOST_COMMANDS, Codec, InvalidFrame, raw, too_many
from trunkline.realtime.wire.messages import Command, Data, Reply

__all__ = ["FIELDS", "ProtobufCodec"]

#: The numbers of the fields, by message.
FIELDS: Final[dict[type[msgspec.Struct], dict[str, int]]] = {
    m.Error: {"code": 1, "message": 2, "temporary": 3},
    m.StreamPosition: {"offset": 1, "epoch": 2},
    m.ClientInfo: {"user": 1, "client": 2, "conn_info": 3, "chan_info": 4},
    m.Publication: {"data": 4, "info": 5, "offset": 6, "tags": 7, "time": 9},
    m.FilterNode: {"op": 1},
    m.SubscribeRequest: {
        "channel": 1, "token": 2, "recover": 3, "epoch": 6, "offset": 7, "data": 8, "positioned": 9, "recoverable": 10,
        "join_leave": 11, "delta": 12, "tf": 13, "flag": 14, "type": 15,
    },
    m.ConnectRequest: {"token": 1, "data": 2, "subs": 3, "name": 4, "version": 5, "headers": 6},
    m.UnsubscribeRequest: {"channel": 1},
    m.PublishRequest: {"channel": 1, "data": 2, "type": 3},
    m.PresenceRequest: {"channel": 1},
    m.PresenceStatsRequest: {"channel": 1},
    m.HistoryRequest: {"channel": 1, "limit": 7, "since": 8, "reverse": 9},
    m.SendRequest: {"data": 1},
    m.RPCRequest: {"data": 1, "method": 2},
    m.RefreshRequest: {"token": 1},
    m.SubRefreshRequest: {"channel": 1, "token": 2},
    m.Ping: {},
    m.Command: {
        "id": 1, "connect": 4, "subscribe": 5, "unsubscribe": 6, "publish": 7, "presence": 8, "presence_stats": 9,
        "history": 10, "ping": 11, "send": 12, "rpc": 13, "refresh": 14, "sub_refresh": 15,
    },
    m.SubscribeResult: {
        "expires": 1, "ttl": 2, "recoverable": 3, "epoch": 6, "publications": 7, "recovered": 8, "offset": 9,
        "positioned": 10, "data": 11, "was_recovering": 12,
    },
    m.ConnectResult: {
        "client": 1, "version": 2, "expires": 3, "ttl": 4, "data": 5, "subs": 6, "ping": 7, "pong": 8, "session": 9,
        "node": 10, "time": 11,
    },
    m.UnsubscribeResult: {},
    m.PublishResult: {},
    m.PresenceResult: {"presence": 1},
    m.PresenceStatsResult: {"num_clients": 1, "num_users": 2},
    m.HistoryResult: {"publications": 1, "epoch": 2, "offset": 3},
    m.RPCResult: {"data": 1},
    m.RefreshResult: {"client": 1, "version": 2, "expires": 3, "ttl": 4},
    m.SubRefreshResult: {"expires": 1, "ttl": 2},
    m.Join: {"info": 1},
    m.Leave: {"info": 1},
    m.Unsubscribe: {"code": 2, "reason": 3},
    m.Subscribe: {"recoverable": 1, "epoch": 4, "offset": 5, "positioned": 6, "data": 7},
    m.Message: {"data": 1},
    m.Push: {"channel": 2, "pub": 4, "join": 5, "leave": 6, "unsubscribe": 7, "message": 8, "subscribe": 9},
    m.Reply: {
        "id": 1, "error": 2, "push": 4, "connect": 5, "subscribe": 6, "unsubscribe": 7, "publish": 8, "presence": 9,
        "presence_stats": 10, "history": 11, "ping": 12, "rpc": 13, "refresh": 14, "sub_refresh": 15,
    },
}  # fmt: skip

VARINT, I64, LEN, I32 = 0, 1, 2, 5  # wire types


class ProtobufCodec(Codec):
    """Payloads may be any bytes."""

    name = "protobuf"

    def decode(self, frame: str | bytes) -> list[Command]:
        if isinstance(frame, str):
            raise InvalidFrame("a text message, but the client asked for Protobuf, whose messages are binary")
        commands: list[Command] = []
        position = 0
        while position < len(frame):
            if len(commands) == MOST_COMMANDS:
                raise too_many()
            data, position = _read_delimited(frame, position)
            commands.append(_read(data, Command))
        return commands

    def encode(self, replies: Iterable[Reply]) -> PreparedMessage:
        return PreparedMessage(b"".join([_delimited(_write(reply)) for reply in replies]), text=False)

    def payload(self, data: bytes | None) -> Data:
        return raw(data)


class Field(NamedTuple):
    """A field and its shape: None for one value, `list`, or `dict` with strings for keys."""

    name: str
    number: int
    shape: type | None
    type: Any
    default: Any


def _fields_of(struct: type[msgspec.Struct]) -> list[Field]:
    hints = typing.get_type_hints(struct, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
    return [Field(name, number, *_shape(hints[name]), defaults[name]) for name, number in FIELDS[struct].items()]


def _shape(hint: Any) -> tuple[type | None, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (list, dict):
        return origin, arguments[-1]
    if hint != Data and types.NoneType in arguments:
        return None, arguments[0]
    return None, hint


# Writing


def _varint(number: int) -> bytes:
    """Seven bits to a byte, the lowest first; a negative number as 64 bits."""
    if 0 <= number < 0x80:
        return number.to_bytes()
    number &= 0xFFFF_FFFF_FFFF_FFFF
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _delimited(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _write(message: Any) -> bytes:
    written: list[bytes] = []
    for name, default, tag, write in _WRITERS[type(message)]:
        value = getattr(message, name)
        if value is not default and (value or isinstance(value, msgspec.Struct)):
            write(written, tag, value)
    return b"".join(written)


Write = Callable[[list[bytes], bytes, Any], None]


def _writer(field: Field) -> Write:
    """A function that appends a field."""
    if field.shape is list:
        return lambda written, tag, value: written.extend([tag + _delimited(_write(item)) for item in value])
    if field.shape is dict:
        # A map is a list of entries with the fields key = 1 and value = 2.
        write_value = _writer(field._replace(shape=None))
        return lambda written, tag, value: _write_map(written, tag, value, write_value)
    if field.type in FIELDS:
        return lambda written, tag, value: written.append(tag + _delimited(_write(value)))
    if field.type is str:
        return lambda written, tag, value: written.append(tag + _delimited(value.encode()))
    if field.type == Data:
        return lambda written, tag, value: written.append(tag + _delimited(bytes(value)))
    return lambda written, tag, value: written.append(tag + _varint(value))


def _write_map(written: list[bytes], tag: bytes, value: dict[str, Any], write_value: Write) -> None:
    for key, item in value.items():
        entry = [b"\x0a", _delimited(key.encode())]
        write_value(entry, b"\x12", item)
        written.append(tag + _delimited(b"".join(entry)))


# Reading


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at a position, and where it ends."""
    number = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, position
        shift += 7
    raise InvalidFrame("a number is cut short, or longer than ten bytes")


def _read_delimited(data: bytes, position: int) -> tuple[bytes, int]:
    size, position = _read_varint(data, position)
    if size > len(data) - position:
        raise InvalidFrame(f"{size} bytes should follow, but only {len(data) - position} do")
    return data[position : position + size], position + size


def _read_value(data: bytes, position: int, wire_type: int) -> tuple[Any, int]:
    if wire_type == VARINT:
        return _read_varint(data, position)
    if wire_type == LEN:
        return _read_delimited(data, position)
    if wire_type not in (I64, I32):
        raise InvalidFrame(f"a field has the wire type {wire_type}")
    end = position + (8 if wire_type == I64 else 4)
    if end > len(data):
        raise InvalidFrame("a number is cut short")
    return data[position:end], end


def _read(data: bytes, struct: type[msgspec.Struct]) -> Any:
    readers = _READERS[struct]
    values: dict[str, Any] = {}
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        if not 0 < tag >> 3 < 1 << 29:
            raise InvalidFrame(f"a field has the number {tag >> 3}")
        value, position = _read_value(data, position, tag & 7)
        if tag in readers:  # others are unknown, or not of the type that we know
            name, shape, read = readers[tag]
            if shape is None:
                values[name] = read(value)
            elif shape is list:
                values.setdefault(name, []).append(read(value))
            else:
                key, item = read(value)
                values.setdefault(name, {})[key] = item
    return struct(**values)


def _reader(field: Field) -> Callable[[Any], Any]:
    """A function that makes the value of a field of its bytes."""
    if field.shape is dict:
        read_value = _reader(field._replace(shape=None))
        empty = b"" if _wire_type(field) == LEN else 0
        return lambda data: _read_entry(data, read_value, empty)
    if field.type in FIELDS:
        return lambda data: _read(data, field.type)
    return _SCALARS[field.type]


def _read_entry(data: bytes, read_value: Callable[[Any], Any], empty: Any) -> tuple[str, Any]:
    fields: dict[int, Any] = {}
    position = 0
    while position < len(data):
        tag, position = _read_varint(data, position)
        fields[tag], position = _read_value(data, position, tag & 7)
    return _read_text(fields.get(0x0A, b"")), read_value(fields.get(0x12, empty))


def _read_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InvalidFrame("a string isn't UTF-8") from None


def _read_unsigned(number: int) -> int:
    if number >= 1 << 63:
        raise InvalidFrame(f"{number} is out of range")
    return number


def _read_signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


#: Numbers of 32 bits are the lower half of what is on the wire.
_SCALARS: Final[dict[Any, Callable[[Any], Any]]] = {
    bool: bool,
    str: _read_text,
    Data: raw,
    m.Int32: lambda number: (number + (1 << 31) & 0xFFFF_FFFF) - (1 << 31),
    m.Int64: _read_signed,
    m.UInt32: lambda number: number & 0xFFFF_FFFF,
    m.UInt64: _read_unsigned,
}


def _wire_type(field: Field) -> int:
    return LEN if field.shape or field.type in FIELDS or field.type in (str, Data) else VARINT


_WRITERS: Final = {
    struct: [
        (field.name, field.default, _varint(field.number << 3 | _wire_type(field)), _writer(field))
        for field in _fields_of(struct)
    ]
    for struct in FIELDS
}
_READERS: Final = {
    struct: {
        field.number << 3 | _wire_type(field): (field.name, field.shape, _reader(field)) for field in _fields_of(struct)
    }
    for struct in FIELDS
}
