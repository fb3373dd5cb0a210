"""Protobuf: messages of the schema below, each with its length before it, in binary messages.

`FIELDS` has the numbers of the fields, the classes in `messages` their names and types. Together they are the schema,
of which `wireformat` reads and writes messages.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Any, Final, cast

import msgspec

from trunkline.core.writer import PreparedMessage
from trunkline.realtime.publication import ClientInfo, Publication
from trunkline.realtime.wire import messages as m
from trunkline.realtime.wire.codecs.base import Codec, InvalidFrame, raw
from trunkline.realtime.wire.codecs.wireformat import Field, Table, read_all, write_all, write_one
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


class ProtobufCodec(Codec):
    """Payloads may be any bytes."""

    name = "protobuf"
    pong = b"\0"

    def decode(self, frame: str | bytes) -> list[Command]:
        if isinstance(frame, str):
            raise InvalidFrame("a text message, but the client asked for Protobuf, whose messages are binary")
        return read_all(frame, _TABLES[Command])

    def encode(self, replies: Iterable[Reply]) -> PreparedMessage:
        return PreparedMessage(write_all(replies, _TABLES[Reply]), text=False)

    def payload(self, data: bytes | None) -> Data:
        return raw(data)

    # Publications and facts about clients have the attributes of their messages, and are written as they are.

    def publication(self, publication: Publication) -> m.Publication:
        return cast(m.Publication, publication)

    def told(self, publication: Publication) -> tuple[Any, int]:
        data = write_one(publication, _TABLES[m.Publication])
        return data, len(data)

    def info(self, info: ClientInfo) -> m.ClientInfo:
        return cast(m.ClientInfo, info)


_KINDS: Final[dict[Any, str]] = {
    str: "text",
    Data: "payload",
    bool: "bool",
    m.UInt32: "uint32",
    m.Int32: "int32",
    m.UInt64: "uint64",
    m.Int64: "int64",
}


def _tables() -> dict[type[msgspec.Struct], Table]:
    fields = {struct: _fields_of(struct) for struct in FIELDS}
    tables = {struct: Table(struct, [field for field, _ in pairs]) for struct, pairs in fields.items()}
    for pairs in fields.values():
        for field, kind in pairs:
            field.table = tables.get(kind)
    return tables


def _fields_of(struct: type[msgspec.Struct]) -> list[tuple[Field, Any]]:
    """The fields of a message, each with the class of its values."""
    hints = typing.get_type_hints(struct, include_extras=True)
    defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
    fields = []
    for name, number in FIELDS[struct].items():
        shape, kind = _shape(hints[name])
        fields.append((Field(name, number, "message" if kind in FIELDS else _KINDS[kind], shape, defaults[name]), kind))
    return fields


def _shape(hint: Any) -> tuple[type | None, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (list, dict):
        return origin, arguments[-1]
    if hint != Data and types.NoneType in arguments:
        return None, arguments[0]
    return None, hint


_TABLES: Final = _tables()
