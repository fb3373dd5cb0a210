"""History and delivery by Redis or Valkey, for any number of nodes: `redis://host:6379/0`."""

from __future__ import annotations

import logging
import re
import secrets
import ssl as tls
from collections.abc import Callable
from typing import Final

import msgspec

from trunkline.realtime.brokers.base import BrokerError, BrokerEvents
from trunkline.realtime.brokers.envelope import CUT, Envelope, open_envelope
from trunkline.realtime.brokers.following import Event, Following
from trunkline.realtime.brokers.link import HEARTBEAT
from trunkline.realtime.brokers.local import milliseconds
from trunkline.realtime.brokers.network import NetworkBroker, passing
from trunkline.realtime.brokers.redis.address import Address, split_options
from trunkline.realtime.brokers.redis.commands import Commands
from trunkline.realtime.brokers.redis.control import RedisControl
from trunkline.realtime.brokers.redis.delivery import Delivery, Message
from trunkline.realtime.brokers.redis.names import Names
from trunkline.realtime.brokers.redis.presence import PRESENCE_SCRIPTS, RedisPresence
from trunkline.realtime.brokers.redis.scripts import SCRIPTS
from trunkline.realtime.brokers.redis.store import Store
from trunkline.realtime.brokers.tail import Arrival
from trunkline.realtime.limits import check_seconds

__all__ = ["RedisBroker"]

logger = logging.getLogger("trunkline.realtime")

PREFIX: Final = re.compile(r"[\w.-]+", re.ASCII)


class RedisBroker(NetworkBroker):
    """Keeps the newest publications of each channel in Redis 6.2 or later, or Valkey, and delivers them to every node
    that names the same server.

    A node that missed publications, because its connection was lost or it was too slow, reads them and delivers them in
    order. Its clients notice nothing. While Redis is away, calls wait up to `patience` seconds and then raise; clients
    stay connected.

    Each channel has an epoch of its own, made with its first publication. A channel in which nothing is published for
    `idle` seconds starts anew.

    Args:
        url: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://` for TLS, `unix://PATH?db=DB`. Options follow a question
            mark: `prefix=tl`, with which all names in Redis begin, and `durable=1`.
        durable: whether Redis never forgets what it promised. Then it has `appendonly yes` and `appendfsync always`,
            you never put older files in their place, and no replica follows it. Otherwise channels start anew when
            Redis was started again, as it can't tell what is missing.
        ssl: context for TLS; by default one that trusts what the operating system trusts.
        idle: seconds.
        patience: seconds.
        heartbeat: seconds between signs of life of Redis. It is given up after twice as many.
        lease: seconds after which the clients of a node that died are gone from the presence.
        clock: seconds since 1970; by default that of Redis.

    Raises:
        TypeError, ValueError: if an argument makes no sense.
    """

    def __init__(
        self,
        url: str = "redis://localhost",
        *,
        durable: bool = False,
        ssl: tls.SSLContext | None = None,
        idle: float = 7 * 86400,
        patience: float = 10,
        heartbeat: float = HEARTBEAT,
        lease: float = 10,
        clock: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("idle", idle), ("patience", patience), ("heartbeat", heartbeat), ("lease", lease)):
            check_seconds(name, value, positive=True)
        self.address = Address.of(url)
        options = split_options(url, ("prefix", "durable", "db") if self.address.path else ("prefix", "durable"))
        self.durable = _flag("durable", options.get("durable", "1" if durable else "0"))
        self.prefix = _prefix(options.get("prefix", "tl"))
        self.node = secrets.token_hex(6)
        self._lease = lease
        self._presence: RedisPresence | None = None
        self._control: RedisControl | None = None
        self._names = Names(self.prefix, self.address.db)
        self._channels: dict[bytes, str] = {}  # that are subscribed to, by what Redis calls them
        self._commands = Commands(
            self.address,
            ssl,
            scripts=(*SCRIPTS, *PRESENCE_SCRIPTS),
            durable=self.durable,
            patience=patience,
            heartbeat=heartbeat,
        )
        self._delivery = Delivery(
            self.address,
            ssl,
            own=(self._names.all_nodes, self._names.node_messages(self.node)),
            patience=patience,
            heartbeat=heartbeat,
            on_messages=self._on_messages,
            on_back=lambda: self._following.heal_all(),
        )
        self._store: Store = Store(self._commands, self._names, milliseconds(idle), clock)
        self._following = Following(self._store, self._delivery.barrier, self._store.now)

    def presence(self) -> RedisPresence:
        if self._presence is None:
            self._presence = RedisPresence(
                self._commands, self._names, self.publish_join, self.publish_leave, self._lease
            )
        return self._presence

    def control(self) -> RedisControl:
        self._control = RedisControl(self._commands, self._names, self.node)
        return self._control

    async def start(self, events: BrokerEvents) -> None:
        await self._commands.link.start(self._commands.patience)
        try:
            await self._delivery.link.start(self._delivery.patience)
        except BaseException:
            await self._commands.link.close()
            raise
        self._following.start(events)
        self._open = True

    async def close(self) -> None:
        if not self._open:
            return
        await self._settle()
        await self._delivery.barrier()
        await self._following.close()
        self._channels.clear()
        await self._delivery.link.close()
        await self._commands.link.close()

    async def _tell(self, channel: str, envelope: bytes) -> None:
        await self._commands.call(b"PUBLISH", self._names.messages(channel), b":" + envelope, repeat=False)

    # Delivery

    async def subscribe(self, channel: str) -> None:
        self._running()
        key = self._names.messages(channel)
        self._channels[key] = channel
        self._following.add(channel)
        try:
            await self._delivery.subscribe(key)
        except BrokerError:
            if self._channels.pop(key, None) is not None:
                self._following.discard(channel)
            raise

    async def unsubscribe(self, channel: str) -> None:
        self._running()
        key = self._names.messages(channel)
        if self._channels.pop(key, None) is not None:
            self._following.discard(channel)
            await self._delivery.unsubscribe(key)

    def _on_messages(self, messages: list[Message]) -> None:
        together: dict[str, list[Event]] = {}
        for message in messages:
            channel = self._channels.get(message.key)
            if channel is None:
                self._on_control(message)
            elif (event := self._event(message.payload)) is not None:
                together.setdefault(channel, []).append(event)
        for channel, events in together.items():
            self._following.arrived(channel, events)

    def _on_control(self, message: Message) -> None:
        if self._control is None:
            return
        if message.key == self._names.all_nodes:
            self._control.on_order(message.payload)
        elif message.key == self._names.node_messages(self.node):
            self._control.on_answer(message.payload)

    def _event(self, payload: bytes) -> Event | None:
        """The event of a message: `OFFSET:TIME:EPOCH:ENVELOPE`, or `:ENVELOPE` without history."""
        try:
            if payload.startswith(b":"):
                return passing(open_envelope(memoryview(payload)[1:]), self._store.now())
            offset, time, epoch, sealed = payload.split(b":", 3)
            return _arrival(epoch.decode(), int(offset), int(time), open_envelope(sealed))
        except (ValueError, msgspec.MsgspecError) as error:
            logger.warning("a message in Redis at %s isn't ours: %s", self.address, error)
            return None

    async def remove_history(self, channel: str) -> None:
        self._running()
        await self._store.remove(channel)
        await self._delivery.barrier()  # then this node knows of it, too


def _arrival(epoch: str, offset: int, time: int, envelope: Envelope) -> Arrival:
    if envelope.kind == CUT:
        return Arrival(epoch, offset, offset, None, 0, 0)
    return Arrival(epoch, offset - 1, offset, envelope.publication(offset, time), envelope.size, envelope.ttl)


def _flag(name: str, value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"{name} is {value!r}; it must be 0 or 1")
    return value == "1"


def _prefix(value: str) -> str:
    if not PREFIX.fullmatch(value):
        raise ValueError(f"prefix is {value!r}; it must be of letters, digits, '.', '-' and '_'")
    return value
