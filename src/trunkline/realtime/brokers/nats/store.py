"""The history of channels in a stream of NATS.

All channels share one stream, and its numbers are the offsets. The epoch lies inside of the stream, in a message that
never expires, the anchor: a stream that has lost its data has lost its epoch, too.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.brokers.envelope import CUT, Envelope, open_envelope, seal, seal_publication
from trunkline.realtime.brokers.nats.connection import Connection
from trunkline.realtime.brokers.nats.jetstream import (
    NAME_IN_USE,
    WRONG_LAST,
    JetStream,
    JetStreamError,
    api,
    last_message,
    milliseconds_of,
    number_of,
)
from trunkline.realtime.brokers.nats.link import NatsLink
from trunkline.realtime.brokers.nats.names import Names
from trunkline.realtime.brokers.nats.protocol import Message
from trunkline.realtime.brokers.tail import Slice
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["Options", "Store"]

logger = logging.getLogger("trunkline.realtime")

ATTEMPTS: Final = 20  # at what others may disturb
PAUSE: Final = 0.1  # seconds between two
WIDER: Final = 8  # times as far back a reader looks when it has not found enough
CHECKED: Final = 250  # channels in one request
ID: Final = 16  # bytes of the hash of a channel and an id
SECOND: Final = 10**9  # nanoseconds

#: Settings that a stream must have, whatever program made it.
ESSENTIAL: Final = ("subjects", "republish", "allow_direct", "allow_msg_ttl", "storage")


class Options(NamedTuple):
    """How a stream keeps what is published.

    Attributes:
        storage: "file" or "memory".
        replicas: servers of a cluster that have it.
        retain: seconds.
        cap: publications of one channel.
        id_ttl: seconds for which ids are known again.
    """

    storage: str
    replicas: int
    retain: float
    cap: int
    id_ttl: float


class _Entry(NamedTuple):
    """A message of the stream, with what is in it."""

    number: int
    envelope: Envelope


class Store:
    """Appends, reads and removes.

    Args:
        link: the connection.
        names: of the stream and its subjects.
        options: of the stream.
        patience: seconds until a call gives up.
        clock: seconds since 1970; None for that of NATS.
        on_new_epoch: called when offsets start anew, unless it is the first time.

    Attributes:
        epoch: of all offsets.
        seen: the largest number that this node knows of.
    """

    def __init__(
        self,
        link: NatsLink,
        names: Names,
        options: Options,
        patience: float,
        clock: Callable[[], float] | None,
        on_new_epoch: Callable[[], None],
    ) -> None:
        self._link = link
        self._names = names
        self._options = options
        self._clock = clock
        self._on_new_epoch = on_new_epoch
        self._stream = JetStream(link, names.stream, patience, self.prepare)
        self._preparing: asyncio.Task[None] | None = None
        self._started = False
        self.epoch = ""
        self.seen = 0

    def start(self) -> None:
        """Begin anew: another server may be there."""
        self._started, self.epoch, self.seen = False, "", 0

    def now(self) -> int:
        """Milliseconds since 1970, as NATS counts them."""
        if self._clock is not None:
            return int(self._clock() * 1000)
        return int(time.time() * 1000) + self._link.ahead

    # The stream and its epoch

    async def prepare(self, connection: Connection) -> None:
        """Make the stream if it isn't there, and find out its epoch; once for all who ask at the same time.

        Raises:
            JetStreamError, ConnectionLost, TimeoutError: if that fails.
        """
        if self._preparing is None:
            self._preparing = asyncio.get_running_loop().create_task(self._prepare(connection))
            self._preparing.add_done_callback(self._prepared)
        await asyncio.shield(self._preparing)

    def _prepared(self, task: asyncio.Task[None]) -> None:
        self._preparing = None
        if not task.cancelled():
            task.exception()

    async def _prepare(self, connection: Connection) -> None:
        info = await self._make(connection)
        self._link.ahead = milliseconds_of(info["ts"]) - int(time.time() * 1000) if "ts" in info else self._link.ahead
        newest = int(info["state"]["last_seq"])
        epoch, number = await self._anchor(connection)
        if epoch == self.epoch and newest < self.seen:
            logger.warning(
                "NATS at %s has older data than before: the newest message is %d, and %d was there: all start anew",
                self._link.where,
                newest,
                self.seen,
            )
            epoch = await self._replace_anchor(connection, number)
        before, self.epoch = self.epoch, epoch
        if before != epoch:
            self.seen = newest
            if before:
                self._on_new_epoch()
        self.seen = max(self.seen, newest)
        self._started = True

    async def _make(self, connection: Connection) -> dict[str, Any]:
        """https://docs.nats.io/nats-concepts/jetstream/streams#configuration"""
        wanted = self._configuration()
        try:
            await api(connection, f"STREAM.CREATE.{self._names.stream}", wanted)
        except JetStreamError as error:
            if error.code != NAME_IN_USE:
                raise
        info = await api(connection, f"STREAM.INFO.{self._names.stream}")
        config = info["config"]
        for name in ESSENTIAL:
            have = config.get(name)
            if name == "republish":
                have = have and {key: have.get(key) for key in wanted[name]}
            if have != wanted[name]:
                raise BrokerError(
                    f"the stream {self._names.stream} of NATS at {self._link.where} has {name} {have!r}, not"
                    f" {wanted[name]!r}: choose another ?prefix=, or delete the stream"
                )
        other = {name for name, value in wanted.items() if name != "republish" and config.get(name) != value}
        if other and not self._started:
            await api(connection, f"STREAM.UPDATE.{self._names.stream}", config | wanted)
        return info

    def _configuration(self) -> dict[str, Any]:
        options, names = self._options, self._names
        return {
            "name": names.stream,
            "subjects": [names.kept_subjects.decode()],
            "storage": options.storage,
            "num_replicas": options.replicas,
            "max_msgs_per_subject": options.cap,
            "max_age": int(options.retain * SECOND),
            "duplicate_window": int(min(options.id_ttl, options.retain) * SECOND),
            "discard": "old",
            "allow_direct": True,
            "allow_msg_ttl": True,
            "republish": {"src": names.kept_subjects.decode(), "dest": names.told_subjects.decode()},
        }

    async def _anchor(self, connection: Connection) -> tuple[str, int]:
        """The epoch, and the number of the message that has it."""
        while True:
            message = await last_message(connection, self._names.stream, self._names.anchor)
            if message is not None:
                return base64.b64decode(message.get("data", "")).decode(), int(message["seq"])
            await self._replace_anchor(connection, 0)

    async def _replace_anchor(self, connection: Connection, number: int) -> str:
        """Begin a new epoch, unless another node does. `number`: of the message that has the old one, 0 if none."""
        headers = b"Nats-TTL: never\r\nNats-Expected-Last-Subject-Sequence: %d\r\n" % number
        message = await connection.request(self._names.anchor, secrets.token_urlsafe(6).encode(), headers)
        answer = msgspec.json.decode(message.payload, type=dict[str, Any]) if message.payload else {}
        if (error := answer.get("error")) and error.get("err_code") not in WRONG_LAST:
            raise JetStreamError(error)
        return "" if not number else (await self._anchor(connection))[0]

    async def newest(self, channels: list[str]) -> dict[str, int]:
        """The newest offsets of channels that have one. Looks at the epoch, too.

        Raises:
            BrokerError: if they can't be read.
        """
        newest: dict[str, int] = {}
        for start in range(0, max(len(channels), 1), CHECKED):
            some = {self._names.kept(channel): channel for channel in channels[start : start + CHECKED]}
            request = {"multi_last": [each.decode() for each in (self._names.anchor, *some)]}
            messages, _ = await self._stream.read(request)
            last = {each.header(b"Nats-Subject"): each for each in messages}
            await self._check_epoch(last.pop(self._names.anchor, None))
            newest.update((some[subject], number_of(message)) for subject, message in last.items())
        return newest

    def describe(self, error: JetStreamError) -> BrokerError:
        """As `JetStream.describe`."""
        return self._stream.describe(error)

    async def _check_epoch(self, anchor: Message | None) -> None:
        """The stream may have been made again, while we were connected."""
        if anchor is None or anchor.payload.decode() != self.epoch:
            await self._stream.carry_out(self._prepare_now)

    async def _prepare_now(self, connection: Connection) -> None:
        await self.prepare(connection)

    # Publishing

    async def append(
        self, channel: str, publication: Publication, size: int, ttl: int, id: str | None
    ) -> StreamPosition:
        """Append a publication, and let NATS deliver it. `ttl`: milliseconds.

        Raises:
            Uncertain, BrokerError: as `Broker.publish`.
        """
        subject = self._names.kept(channel)
        publication.time = self.now()
        sealed = seal_publication(publication, size, ttl, publication.time)
        headers = b"" if id is None else b"Nats-Msg-Id: %b\r\n" % _hash(subject, id)
        seen = self.seen
        offset = publication.offset = await self._stream.append(subject, sealed, headers, repeat=id is not None)
        if id is None and offset <= seen and self._link.connection is not None:  # the stream was made again
            await self._stream.carry_out(self._prepare_now)
        self.seen = max(self.seen, offset)
        return StreamPosition(offset, self.epoch)

    # Reading

    async def read(
        self,
        channel: str,
        since: int | None = None,
        limit: int | None = None,
        reverse: bool = False,
        create: bool = True,
    ) -> Slice:
        """Read publications, the newest first if `reverse`.

        Args:
            channel: its name.
            since, limit, reverse: as for `Broker.history`.
            create: of no meaning here: all channels have an epoch.

        Raises:
            BrokerError: if it can't be read.
        """
        last, top, epoch = await self._last(channel)
        if since is not None and since > top and self._options.replicas > 1:
            await asyncio.sleep(0.2)  # another server may know more: https://docs.nats.io → "direct get"
            last, top, epoch = await self._last(channel)
        position = StreamPosition(top, epoch)
        if last is None:
            return Slice([], position, 0 if since is not None and since >= top else await self._oldest() - 1, 0, 0)
        size, ttl = last.envelope.size, last.envelope.ttl
        if limit == 0 if since is None else since >= top and not reverse:
            return Slice([], position, 0, size, ttl)
        floor = 1 if since is None or reverse else max(since, 1)
        most = size if limit is None or not reverse or since is not None else min(size, limit)
        entries, start = await self._newest(channel, top, floor, most)
        kept, base = self._select(entries, ttl)
        if base is None:
            base = await self._base(entries, start > floor, None if reverse else since)
        publications = [_publication(each) for each in kept if _is_after(each.number, since, reverse)]
        if reverse:
            publications.reverse()
        return Slice(publications[:limit], position, base, size, ttl)

    async def _base(self, entries: list[_Entry], partly: bool, since: int | None) -> int:
        """The offset up to which publications are forgotten, if none of these is.

        Args:
            entries: messages of a channel, up to the newest.
            partly: whether more are kept than those.
            since: offset after which they were asked for.
        """
        if partly or len(entries) >= self._options.cap:
            return entries[0].number - 1
        if entries and entries[0].number == since:
            return 0
        return await self._oldest() - 1

    async def _last(self, channel: str) -> tuple[_Entry | None, int, str]:
        """The newest message of a channel, the newest position, and the epoch, all of one moment."""
        subject = self._names.kept(channel)
        request = {"multi_last": [self._names.anchor.decode(), subject.decode()]}
        for _ in range(ATTEMPTS):
            messages, end = await self._stream.read(request)
            last = {each.header(b"Nats-Subject"): each for each in messages}
            anchor, newest = last.get(self._names.anchor), int(end.header(b"Nats-UpTo-Sequence") or 0)
            await self._check_epoch(anchor)
            if anchor is None or anchor.payload.decode() != self.epoch or newest < self.seen:
                await asyncio.sleep(PAUSE)  # a replica that answers may be a little behind
                continue
            entry = _entry(last[subject]) if subject in last else None
            return entry, newest if entry is None else entry.number, self.epoch
        raise BrokerError(f"NATS at {self._link.where} answers with older data than before; try again later")

    async def _newest(self, channel: str, top: int, floor: int, most: int) -> tuple[list[_Entry], int]:
        """The messages of a channel from some number on, which is returned, too.

        They are at least those from `floor` on, or the newest `most` and one more.
        """
        width = 2 * most
        while True:
            start = max(floor, top - width)
            messages = await self._stream.read_from(self._names.kept(channel), start)
            entries = [entry for each in messages if (entry := _entry(each)).number <= top]
            if start <= floor or len(entries) > most or any(each.envelope.kind == CUT for each in entries):
                return entries, start
            width *= WIDER

    def _select(self, entries: list[_Entry], ttl: int) -> tuple[list[_Entry], int | None]:
        """Those that are still kept, and the offset up to which they are forgotten; None if none of these is."""
        oldest, first, base = self.now() - ttl, 0, None
        for index, (number, envelope) in enumerate(entries):
            if envelope.kind == CUT:
                first, base = index + 1, envelope.previous
            elif envelope.time <= oldest:
                first, base = index + 1, number
            elif index - envelope.size >= first:
                first = index - envelope.size + 1
                base = entries[first - 1].number
        return entries[first:], base

    async def _oldest(self) -> int:
        """The number before which messages may be gone: their time is over. 1 if none is gone yet."""
        number, subject, whole = 1, self._names.kept_subjects, True
        while True:
            messages, _ = await self._stream.read({"seq": number, "next_by_subj": subject.decode(), "batch": 1})
            first = number_of(messages[0]) if messages else max(self.seen + 1, number)
            whole = whole and first == number
            if not messages or messages[0].header(b"Nats-Subject") != self._names.anchor:
                return 1 if whole else first
            number = first + 1

    # Removing

    async def remove(self, channel: str) -> None:
        """Forget publications, and tell every node.

        Raises:
            BrokerError: if it can't be done.
        """
        subject = self._names.kept(channel)
        for _ in range(ATTEMPTS):
            last, top, _ = await self._last(channel)
            if last is None or last.envelope.kind == CUT:
                return
            headers = b"Nats-Expected-Last-Subject-Sequence: %d\r\n" % top
            cut = seal(Envelope(CUT, size=last.envelope.size, ttl=last.envelope.ttl, previous=top))
            try:
                number = await self._stream.append(subject, cut, headers, repeat=True)
            except JetStreamError:
                continue  # another node has published meanwhile
            self.seen = max(self.seen, number)
            await self._stream.request("STREAM.PURGE", {"filter": subject.decode(), "seq": number})
            return
        raise BrokerError(f"the history of {channel!r} can't be removed while others publish so much; try again")


def _is_after(offset: int, since: int | None, reverse: bool) -> bool:
    if since is None:
        return True
    return offset < since if reverse else offset > since


def _hash(subject: bytes, id: str) -> bytes:
    """The id of a message is one of the stream, and ours are of a channel."""
    return hashlib.blake2b(subject + b"\0" + id.encode(), digest_size=ID).hexdigest().encode()


def _entry(message: Message) -> _Entry:
    """A message that was read.

    Raises:
        BrokerError: if it isn't ours.
    """
    number = number_of(message)
    try:
        return _Entry(number, open_envelope(message.payload))
    except msgspec.MsgspecError as error:
        raise BrokerError(f"message {number} of {message.header(b'Nats-Stream')!r} isn't ours: {error}") from error


def _publication(entry: _Entry) -> Publication:
    return entry.envelope.publication(entry.number, entry.envelope.time)
