"""History and delivery by NATS, for any number of nodes: `nats://host:4222`."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import secrets
import ssl as tls
import time
from collections.abc import Callable
from typing import Final

import msgspec

from trunkline.realtime.brokers.base import ID_TTL, BrokerError, BrokerEvents
from trunkline.realtime.brokers.envelope import CUT, Envelope, open_envelope
from trunkline.realtime.brokers.following import Event, Following
from trunkline.realtime.brokers.link import HEARTBEAT
from trunkline.realtime.brokers.nats.address import Address
from trunkline.realtime.brokers.nats.connection import Connection, NatsError
from trunkline.realtime.brokers.nats.control import NatsControl
from trunkline.realtime.brokers.nats.jetstream import JetStreamError, Missing, check_room, number_of
from trunkline.realtime.brokers.nats.keys import Credentials
from trunkline.realtime.brokers.nats.link import NatsLink
from trunkline.realtime.brokers.nats.names import Names
from trunkline.realtime.brokers.nats.presence import NatsPresence
from trunkline.realtime.brokers.nats.protocol import Message
from trunkline.realtime.brokers.nats.store import Options, Store
from trunkline.realtime.brokers.network import NetworkBroker, passing
from trunkline.realtime.brokers.tail import Arrival
from trunkline.realtime.brokers.wire import ConnectionLost
from trunkline.realtime.limits import check_count, check_seconds

__all__ = ["NatsBroker"]

logger = logging.getLogger("trunkline.realtime")

CHECK: Final = 20.0  # seconds between looks whether something was missed without a sign
PAUSE: Final = 1.0  # seconds before what couldn't be read is read again
PREFIX: Final = re.compile(r"[\w-]+", re.ASCII)
DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class NatsBroker(NetworkBroker):
    """Keeps the newest publications of each channel in NATS 2.11 or later, with JetStream, and delivers them to every
    node that names the same servers.

    A node that missed publications, because its connection was lost or it was too slow, reads them and delivers them in
    order. Its clients notice nothing. While NATS is away, calls wait up to `patience` seconds and then raise; clients
    stay connected.

    All channels have one epoch, which lies inside of the stream. It changes when the data is gone, or older than what a
    node has seen.

    Args:
        url: `nats://USER:PASSWORD@HOST:PORT`, `nats://TOKEN@HOST`, `tls://` for TLS; several servers of a cluster
            stand there with commas between them. Options follow a question mark: those below, with `retain=1h`, and
            `nkey=FILE` or `creds=FILE` with a key, which need the extra realtime.
        prefix: with which all names in NATS begin.
        storage: "file" or "memory".
        replicas: servers of a cluster that have the data.
        retain: seconds for which a publication is kept at most, whatever its ttl.
        cap: publications of one channel that are kept at most, whatever its size.
        ssl: context for TLS; by default one that trusts what the operating system trusts.
        patience: seconds.
        heartbeat: seconds between signs of life of NATS. It is given up after twice as many.
        lease: seconds after which the clients of a node that died are gone from the presence.
        id_ttl: seconds for which ids are known again.
        clock: seconds since 1970; by default that of NATS.

    Raises:
        TypeError, ValueError: if an argument makes no sense.
    """

    def __init__(
        self,
        url: str = "nats://localhost",
        *,
        prefix: str = "tl",
        storage: str = "file",
        replicas: int = 1,
        retain: float = 3600,
        cap: int = 100_000,
        ssl: tls.SSLContext | None = None,
        patience: float = 10,
        heartbeat: float = HEARTBEAT,
        lease: float = 3,
        id_ttl: float = ID_TTL,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self.address = Address.of(url)
        given = self.address.options
        retain = _seconds("retain", given["retain"]) if "retain" in given else retain
        for name, value in (("patience", patience), ("heartbeat", heartbeat), ("lease", lease), ("retain", retain)):
            check_seconds(name, value, positive=True)
        check_seconds("id_ttl", id_ttl, positive=True)
        self.options = Options(
            storage=_one_of("storage", given.get("storage", storage), "file", "memory"),
            replicas=_count("replicas", given.get("replicas", replicas)),
            retain=retain,
            cap=_count("cap", given.get("cap", cap)),
            id_ttl=id_ttl,
        )
        self.prefix = _prefix(given.get("prefix", prefix))
        self.node = secrets.token_hex(6)
        self._patience = patience
        self._lease = lease
        self._presence: NatsPresence | None = None
        self._control: NatsControl | None = None
        self._names = Names(self.prefix)
        self._numbers = itertools.count(2)  # of subscriptions
        self._channels: dict[int, str] = {}  # that are subscribed to, by number
        self._subscriptions: dict[str, int] = {}
        self._own: dict[int, tuple[bytes, Callable[[bytes], None]]] = {}  # messages between nodes: subject, and taker
        self._missed_since: int | None = None  # offset from which on publications may be missing
        self._looking: asyncio.Task[None] | None = None
        self._link = NatsLink(
            self.address,
            _credentials(given),
            ssl,
            prepare=self._prepare,
            on_messages=self._on_messages,
            on_back=self._look,
            on_down=self._on_down,
            heartbeat=heartbeat,
        )
        self._store: Store = Store(
            self._link, self._names, self.options, patience, clock, lambda: self._following.heal_all()
        )
        self._following = Following(self._store, self._barrier, self._store.now)

    def presence(self) -> NatsPresence:
        if self._presence is None:
            self._presence = NatsPresence(
                self._link,
                self._names,
                self.options.replicas,
                self._patience,
                self.publish_join,
                self.publish_leave,
                self._lease,
            )
        return self._presence

    def control(self) -> NatsControl:
        self._control = NatsControl(self._tell_subject, str(self.address), self._names, self.node)
        return self._control

    async def start(self, events: BrokerEvents) -> None:
        self._store.start()
        self._missed_since = None
        self._own = {
            next(self._numbers): (self._names.all_nodes, lambda payload: self._controlled().on_order(payload)),
            next(self._numbers): (
                self._names.node_messages(self.node),
                lambda payload: self._controlled().on_answer(payload),
            ),
            next(self._numbers): (self._names.beats, lambda payload: self._controlled().on_beat(payload)),
        }
        self._following.start(events)
        try:
            await self._link.start(self._patience)
        except BaseException:
            await self._following.close()
            raise
        self._open = True
        self._look()

    async def close(self) -> None:
        if not self._open:
            return
        await self._settle()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
            self._looking = None
        await self._barrier()
        await self._following.close()
        self._channels.clear()
        self._subscriptions.clear()
        await self._link.close()

    def _controlled(self) -> NatsControl:
        return self._control or self.control()

    # The connection

    async def _prepare(self, connection: Connection) -> None:
        """Find the streams, and listen to everything again, on a new connection."""
        try:
            await self._store.prepare(connection)
            if self._presence is not None:
                await self._presence.prepare(connection)
        except Missing:
            raise NatsError("JetStream doesn't answer") from None
        except JetStreamError as error:
            if not error.lasts:
                raise
            raise self._store.describe(error) from error
        for number, (subject, _) in self._own.items():
            connection.subscribe(subject, number)
        for number, channel in self._channels.items():
            connection.subscribe(self._names.told(channel), number)
        await connection.ping()

    def _on_down(self) -> None:
        if self._missed_since is None:
            self._missed_since = self._store.seen

    async def _barrier(self) -> None:
        """Return when everything that NATS has sent up to now was delivered, or the connection is lost."""
        if (connection := self._link.connection) is not None:
            with contextlib.suppress(ConnectionLost, NatsError):
                await connection.ping()

    def _look(self) -> None:
        """Look now, and then from time to time, whether something was missed."""
        if self._looking is not None:
            self._looking.cancel()
        self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        while True:
            try:
                since = self._missed_since
                await self._heal_what_moved(since)
                if self._missed_since == since:
                    self._missed_since = None
                await asyncio.sleep(CHECK)
            except BrokerError as error:
                if self._link.connection is not None:  # otherwise the link has said so
                    logger.warning("what was missed can't be read yet: %s", error)
                await asyncio.sleep(PAUSE)

    async def _heal_what_moved(self, since: int | None) -> None:
        """Heal the channels in which more was published than was delivered.

        Where no publication was delivered yet, only those after the offset `since` may be missing.
        """
        newest = await self._store.newest(list(self._following.tops()))
        tops = self._following.tops()
        for channel, offset in newest.items():
            top = tops.get(channel, offset)
            if top is None:
                top = offset if since is None else since
            if offset > top:
                self._following.heal(channel)

    # Publishing

    async def _tell(self, channel: str, envelope: bytes) -> None:
        await self._tell_subject(self._names.told(channel), envelope)

    async def _tell_subject(self, subject: bytes, payload: bytes) -> None:
        """Publish what isn't kept; core NATS acknowledges nothing."""
        end = time.monotonic() + self._patience
        while True:
            connection = self._link.connection or await self._link.ready(end - time.monotonic())
            check_room(connection, payload, str(self.address))
            with contextlib.suppress(ConnectionLost):  # before it was sent
                return await connection.publish(subject, payload)

    # Delivery

    async def subscribe(self, channel: str) -> None:
        self._running()
        number = self._subscriptions.get(channel)
        if number is None:
            number = self._subscriptions[channel] = next(self._numbers)
            self._channels[number] = channel
            self._following.add(channel)
            if self._link.connection is not None:
                self._link.connection.subscribe(self._names.told(channel), number)
        try:
            await self._confirm()
        except BrokerError:
            self._forget(channel, number)
            raise

    async def _confirm(self) -> None:
        """Return when NATS has carried out everything up to here; a new connection begins with all subscriptions."""
        end = time.monotonic() + self._patience
        while True:
            connection = await self._link.ready(end - time.monotonic())
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + end - time.monotonic()):
                    return await connection.ping()
            except ConnectionLost:
                continue
            except NatsError as error:
                raise BrokerError(
                    f"NATS at {self.address} refuses ({error}): let this user subscribe to {self.prefix}.>"
                ) from error
            except TimeoutError:
                raise self._link.away() from None

    def _forget(self, channel: str, number: int) -> None:
        if self._subscriptions.get(channel) == number:
            del self._subscriptions[channel], self._channels[number]
            self._following.discard(channel)
            if self._link.connection is not None:
                self._link.connection.unsubscribe(number)

    async def unsubscribe(self, channel: str) -> None:
        self._running()
        number = self._subscriptions.get(channel)
        if number is not None:
            self._forget(channel, number)

    def _on_messages(self, messages: list[Message]) -> None:
        together: dict[str, list[Event]] = {}
        for message in messages:
            channel = self._channels.get(message.sid)
            if channel is None:
                if (own := self._own.get(message.sid)) is not None:
                    own[1](message.payload)
            elif (event := self._event(message)) is not None:
                together.setdefault(channel, []).append(event)
        for channel, events in together.items():
            self._following.arrived(channel, events)

    def _event(self, message: Message) -> Event | None:
        """The event of a message. Those that are kept come with headers of the stream."""
        try:
            envelope = open_envelope(message.payload)
            if not message.headers:
                return passing(envelope, self._store.now())
            offset, previous = number_of(message), int(message.header(b"Nats-Last-Sequence"))
        except (ValueError, msgspec.MsgspecError) as error:
            logger.warning("a message in NATS at %s isn't ours: %s", self.address, error)
            return None
        if offset <= self._store.seen:
            self._look()  # the stream was made again
        self._store.seen = max(self._store.seen, offset)
        return _arrival(self._store.epoch, previous, offset, envelope)

    async def remove_history(self, channel: str) -> None:
        self._running()
        await self._store.remove(channel)
        await self._barrier()  # then this node knows of it, too


def _arrival(epoch: str, previous: int, offset: int, envelope: Envelope) -> Arrival:
    if envelope.kind == CUT:
        return Arrival(epoch, previous, offset, None, 0, 0)
    publication = envelope.publication(offset, envelope.time)
    return Arrival(epoch, previous, offset, publication, envelope.size, envelope.ttl)


def _credentials(options: dict[str, str]) -> Credentials | None:
    files = [options[name] for name in ("creds", "nkey") if name in options]
    if len(files) > 1:
        raise ValueError("creds and nkey are both given; one key is enough")
    return Credentials(files[0]) if files else None


def _prefix(value: str) -> str:
    if not PREFIX.fullmatch(value):
        raise ValueError(f"prefix is {value!r}; it must be of letters, digits, '-' and '_'")
    return value


def _one_of(name: str, value: str, *values: str) -> str:
    if value not in values:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(values)}")
    return value


def _count(name: str, value: int | str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if isinstance(value, str):
        raise ValueError(f"{name} is {value!r}; it must be a number")
    check_count(name, value)
    if value == 0:
        raise ValueError(f"{name} is 0; it must be at least 1")
    return value


def _seconds(name: str, text: str) -> float:
    match = DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{name} is {text!r}; it must be a number of seconds, or with a unit: 90s, 30m, 1h, 7d")
    return float(match[1]) * UNITS[match[2]]
