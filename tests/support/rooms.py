"""A node without sockets: connections that only remember, clients that say commands, and a clock that tests set."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tests.support.protobuf import frame_of, replies_in
from trunkline.core.writer import PreparedMessage
from trunkline.realtime import Channel, ChannelOptions, Limits, MemoryBroker, MemoryPresence, Presence, Timeouts
from trunkline.realtime.brokers import Broker
from trunkline.realtime.channels import Channels
from trunkline.realtime.client import Client
from trunkline.realtime.codecs import CODECS, Codec
from trunkline.realtime.commands import Commands
from trunkline.realtime.hub import Hub

TEXT = 1  # RFC 6455 section 5.2


class Clock:
    """Seconds, as the test says."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeInbox(list[str]):
    """Messages that the client sent while the server was busy; if `paused`, there may be more."""

    paused = False


class FakeConnection:
    """A connection that takes messages for `room` more bytes, of which the client hasn't read `unsent`."""

    def __init__(self) -> None:
        self.session = SimpleNamespace(inbox=FakeInbox())
        self.unsent = 0
        self.transport = SimpleNamespace(get_write_buffer_size=lambda: self.unsent)
        self.on_closing: Callable[[], None] | None = None
        self.sent: list[PreparedMessage] = []
        self.closed: tuple[int, str] | None = None
        self.room: float = float("inf")
        self.on_writable: Callable[[], None] | None = None

    def send_nowait(self, message: PreparedMessage) -> bool:
        if self.closed is not None or self.room <= 0:
            return False
        self.room -= len(message)
        self.sent.append(message)
        return True

    def start_closing(self, code: int, reason: str) -> None:
        self.closed = code, reason

    def make_room(self, size: float = float("inf")) -> None:
        """The peer read."""
        self.room = size
        if self.on_writable is not None:
            self.on_writable()

    def take(self) -> list[Any]:
        """The replies that were sent since the last call, as objects."""
        sent = [(message.opcode, bytes(message.payload)) for message in self.sent]
        self.sent.clear()
        return [reply for opcode, frame in sent for reply in (_lines(frame) if opcode == TEXT else replies_in(frame))]


def _lines(frame: bytes) -> list[Any]:
    return [json.loads(line) for line in frame.decode().split("\n")]


class Talker:
    """A client, and what it says."""

    def __init__(self, node: Node, codec: Codec) -> None:
        self.node = node
        self.connection = FakeConnection()
        self.client = Client(
            self.connection, codec, node.hub, node.clock(), timeouts=node.timeouts, queue_limit=node.limits.queue
        )

    async def say(self, **command: Any) -> list[Any]:
        """Say a command, with an id unless it is 0; returns everything that was sent since the last call."""
        return await self.say_all(command)

    async def say_all(self, *commands: dict[str, Any]) -> list[Any]:
        """Say commands in one frame."""
        commands = tuple({"id": 7} | each for each in commands)
        if self.client.codec.name == "protobuf":
            return await self.say_frame(frame_of(*commands))
        return await self.say_frame("\n".join(map(json.dumps, commands)))

    async def say_frame(self, frame: str | bytes) -> list[Any]:
        await self.node.commands.receive(self.client, frame)
        return self.connection.take()

    async def connect(self, **request: Any) -> Any:
        [reply] = await self.say(connect=request)
        return reply["connect"]

    async def subscribe(self, channel: str, **request: Any) -> Any:
        """Subscribe; returns the result, of a reply with which no pushes come."""
        [reply] = await self.say(subscribe={"channel": channel, **request})
        return reply["subscribe"]


class Node:
    """Everything that serves clients, but for sockets and timers."""

    def __init__(
        self, *, broker: Broker | None = None, limits: Limits | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self.clock = Clock()
        self.hub = Hub()
        self.channels = Channels()
        self.broker = broker or MemoryBroker()
        self.presence: Presence = MemoryPresence()
        self.limits = limits or Limits()
        self.timeouts = timeouts or Timeouts()
        self.commands = Commands(
            self.hub, self.channels, self.broker, self.presence, self.limits, self.clock, wall_clock=self.clock
        )

    async def __aenter__(self) -> Node:
        await self.broker.start(self.hub)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for client in list(self.hub.clients.values()):
            client.closed()
        await self.commands.settle()
        await self.broker.close()

    def use(self, *, broker: Broker | None = None, presence: Presence | None = None) -> None:
        """Put another broker or presence into the place of what is there."""
        commands = self.commands
        if broker is not None:
            self.broker = commands.broker = commands.subscriptions.broker = commands.leaving.broker = broker
        if presence is not None:
            self.presence = commands.presence = commands.attendance.store = presence

    def channel(self, pattern: str, **options: Any) -> Channel:
        return self.channels.declare(pattern, ChannelOptions(**options))

    def talker(self, codec: str = "json") -> Talker:
        return Talker(self, CODECS[codec])

    async def connected(self, *channels: str, codec: str = "json") -> Talker:
        """A client that is connected and subscribed."""
        talker = self.talker(codec)
        await talker.connect()
        for channel in channels:
            await talker.subscribe(channel)
        return talker
