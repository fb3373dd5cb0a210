"""Messages of the Centrifuge client protocol, version 2: what clients send (`Command`) and get (`Reply`).

These are the facts both encodings share: names and types of fields. A field that has its default isn't sent, and one
that is unknown isn't looked at. `Data` is a payload, which passes through as it came: JSON in the JSON encoding, any
bytes in Protobuf.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

__all__ = [
    "ClientInfo", "Command", "ConnectRequest", "ConnectResult", "Data", "Error", "Garbled", "HistoryRequest",
    "HistoryResult",
    "Join", "Leave", "Message", "Ping", "PresenceRequest", "PresenceResult", "PresenceStatsRequest",
    "PresenceStatsResult", "Publication", "PublishRequest", "PublishResult", "Push", "RPCRequest", "RPCResult",
    "RefreshRequest", "RefreshResult", "Reply", "SendRequest", "StreamPosition", "SubRefreshRequest",
    "SubRefreshResult", "Subscribe", "SubscribeRequest", "SubscribeResult", "Unsubscribe", "UnsubscribeRequest",
    "UnsubscribeResult", "as_bytes", "seconds",
]  # fmt: skip

Data = msgspec.Raw | UnsetType
Int32 = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
UInt32 = Annotated[int, Meta(ge=0, lt=2**32)]
# On the wire it has one bit more, but msgspec knows no such bounds; an offset is far below.
UInt64 = Annotated[int, Meta(ge=0, le=2**63 - 1)]

#: Flags of `SubscribeRequest`: 1, shorter names of channels in pushes, is an offer that we pass over.
REJECT_UNRECOVERED: Final = 2


def as_bytes(data: Data) -> bytes | None:
    """A payload by itself: `Raw` would keep the whole frame that it came in."""
    return None if data is UNSET else bytes(data)


def seconds(ttl: float | None) -> int:
    """Whole seconds, as messages have them: at least one, as 0 would be none at all, and as many as 32 bits can say."""
    return 0 if ttl is None else max(1, math.floor(min(ttl, 2**32 - 1)))


class _Message(Struct, omit_defaults=True):
    """Base of all messages."""


class Error(_Message):
    code: UInt32 = 0
    message: str = ""
    temporary: bool = False


class StreamPosition(_Message):
    offset: UInt64 = 0
    epoch: str = ""


class ClientInfo(_Message):
    user: str = ""
    client: str = ""
    conn_info: Data = UNSET
    chan_info: Data = UNSET


class Publication(_Message):
    data: Data = UNSET
    info: ClientInfo | None = None
    offset: UInt64 = 0
    tags: dict[str, str] = {}
    time: Int64 = 0


# Requests


class SubscribeRequest(_Message):
    channel: str = ""
    token: str = ""
    recover: bool = False
    epoch: str = ""
    offset: UInt64 = 0
    data: Data = UNSET
    positioned: bool = False
    recoverable: bool = False
    join_leave: bool = False
    delta: str = ""
    tf: FilterNode | None = None
    flag: Int64 = 0
    type: Int32 = 0


class FilterNode(_Message):
    """Filters by tags aren't supported: it is enough to see that there is one."""

    op: str = ""


class ConnectRequest(_Message):
    token: str = ""
    data: Data = UNSET
    subs: dict[str, SubscribeRequest] = {}
    name: str = ""
    version: str = ""
    headers: dict[str, str] = {}


class UnsubscribeRequest(_Message):
    channel: str = ""


class PublishRequest(_Message):
    channel: str = ""
    data: Data = UNSET
    type: Int32 = 0


class PresenceRequest(_Message):
    channel: str = ""


class PresenceStatsRequest(_Message):
    channel: str = ""


class HistoryRequest(_Message):
    channel: str = ""
    limit: Int32 = 0
    since: StreamPosition | None = None
    reverse: bool = False


class SendRequest(_Message):
    data: Data = UNSET


class RPCRequest(_Message):
    data: Data = UNSET
    method: str = ""


class RefreshRequest(_Message):
    token: str = ""


class SubRefreshRequest(_Message):
    channel: str = ""
    token: str = ""


class Ping(_Message):
    """Both the request and its result."""


class Command(_Message):
    """One request. Without any, it is a client's answer to a ping."""

    id: UInt32 = 0
    connect: ConnectRequest | None = None
    subscribe: SubscribeRequest | None = None
    unsubscribe: UnsubscribeRequest | None = None
    publish: PublishRequest | None = None
    presence: PresenceRequest | None = None
    presence_stats: PresenceStatsRequest | None = None
    history: HistoryRequest | None = None
    ping: Ping | None = None
    send: SendRequest | None = None
    rpc: RPCRequest | None = None
    refresh: RefreshRequest | None = None
    sub_refresh: SubRefreshRequest | None = None


class Garbled(_Message):
    """The known part of a command in JSON whose text isn't Unicode.

    The text has half of a surrogate pair, as of an emoji that was cut in two. JavaScript makes such text, and JSON can
    say it (RFC 8259 section 8.2); Protobuf can't.
    """

    id: UInt32 = 0
    connect: Ping | None = None


# Results


class SubscribeResult(_Message):
    expires: bool = False
    ttl: UInt32 = 0
    recoverable: bool = False
    epoch: str = ""
    publications: list[Publication] = []
    recovered: bool = False
    offset: UInt64 = 0
    positioned: bool = False
    data: Data = UNSET
    was_recovering: bool = False


class ConnectResult(_Message):
    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: UInt32 = 0
    data: Data = UNSET
    subs: dict[str, SubscribeResult] = {}
    ping: UInt32 = 0
    pong: bool = False
    session: str = ""
    node: str = ""
    time: Int64 = 0


class UnsubscribeResult(_Message):
    pass


class PublishResult(_Message):
    pass


class PresenceResult(_Message):
    presence: dict[str, ClientInfo] = {}


class PresenceStatsResult(_Message):
    num_clients: UInt32 = 0
    num_users: UInt32 = 0


class HistoryResult(_Message):
    publications: list[Publication] = []
    epoch: str = ""
    offset: UInt64 = 0


class RPCResult(_Message):
    data: Data = UNSET


class RefreshResult(_Message):
    client: str = ""
    version: str = ""
    expires: bool = False
    ttl: UInt32 = 0


class SubRefreshResult(_Message):
    expires: bool = False
    ttl: UInt32 = 0


# Pushes. Those named connect, disconnect and refresh are for connections in one direction only, which these aren't.


class Join(_Message):
    info: ClientInfo


class Leave(_Message):
    info: ClientInfo


class Unsubscribe(_Message):
    code: UInt32 = 0
    reason: str = ""


class Subscribe(_Message):
    recoverable: bool = False
    epoch: str = ""
    offset: UInt64 = 0
    positioned: bool = False
    data: Data = UNSET


class Message(_Message):
    data: Data = UNSET


class Push(_Message):
    """News that no command asked for, in a channel, or without one for a `message`."""

    channel: str = ""
    pub: Publication | None = None
    join: Join | None = None
    leave: Leave | None = None
    unsubscribe: Unsubscribe | None = None
    message: Message | None = None
    subscribe: Subscribe | None = None


class Reply(_Message):
    """The answer to the command with this id, or without an id a push. Without either, it is a ping."""

    id: UInt32 = 0
    error: Error | None = None
    push: Push | None = None
    connect: ConnectResult | None = None
    subscribe: SubscribeResult | None = None
    unsubscribe: UnsubscribeResult | None = None
    publish: PublishResult | None = None
    presence: PresenceResult | None = None
    presence_stats: PresenceStatsResult | None = None
    history: HistoryResult | None = None
    ping: Ping | None = None
    rpc: RPCResult | None = None
    refresh: RefreshResult | None = None
    sub_refresh: SubRefreshResult | None = None
