"""A node without sockets: connections that only remember, clients that say commands, and a clock that tests set."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.support.protobuf import frame_of, replies_in
from trunkline.core.writer import PreparedMessage
from trunkline.datastructures import Headers
from trunkline.http11 import Request
from trunkline.realtime import Channel, ChannelOptions, Limits, MemoryBroker, MemoryPresence, Presence, Timeouts
from trunkline.realtime.brokers import Broker, History
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.parts import Parts
from trunkline.realtime.peer import Backlog, Peer
from trunkline.realtime.wire.codecs import CODECS, Codec

TEXT = 1  # RFC 6455 section 5.2


class Clock:
    """Seconds, as the test says: `now`, or the time of `source`, such as that of an event loop."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.source: Callable[[], float] | None = None

    def __call__(self) -> float:
        return self.now if self.source is None else self.source()


class SlowBroker(MemoryBroker):
    """A store that takes its time: `pause` is awaited before and after its work."""

    async def pause(self) -> None:
        raise NotImplementedError

    async def subscribe(self, channel: str) -> None:
        await self.pause()
        await super().subscribe(channel)
        await self.pause()

    async def unsubscribe(self, channel: str) -> None:
        await self.pause()
        await super().unsubscribe(channel)
        await self.pause()

    async def history(self, *args: Any, **kwargs: Any) -> History:
        await self.pause()
        history = await super().history(*args, **kwargs)
        await self.pause()
        return history


class MemoryPeer:
    """A peer without a connection. It takes messages for `room` more bytes, of which the client hasn't read `unsent`.

    Attributes:
        inbox: messages of the client that the node hasn't read.
        stopped: whether the node stopped to read.
        sent: messages that were taken.
        closed: code and reason with which the node closed it.
    """

    def __init__(self, path: str = "/") -> None:
        self.connection: Any = self
        self.request = Request(path, Headers())
        self.inbox: list[str] = []
        self.stopped = False
        self.unsent = 0
        self.on_writable: Callable[[], None] | None = None
        self.on_closing: Callable[[], None] | None = None
        self.on_server_closing: Callable[[], None] | None = None
        self.sent: list[PreparedMessage] = []
        self.closed: tuple[int, str] | None = None
        self.room: float = float("inf")

    @property
    def open(self) -> bool:
        return self.closed is None

    def backlog(self) -> Backlog:
        return Backlog(self.unsent, len(self.inbox), self.stopped)

    def send_nowait(self, message: PreparedMessage) -> bool:
        if self.closed is not None or self.room <= 0:
            return False
        self.room -= len(message)
        self.sent.append(message)
        return True

    def start_closing(self, code: int, reason: str) -> None:
        if self.closed is None:
            self.closed = code, reason
            self.tell_closing()

    def tell_closing(self) -> None:
        """The connection begins to close, or is lost."""
        on_closing, self.on_closing = self.on_closing, None
        if on_closing is not None:
            on_closing()

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
        self.connection = MemoryPeer()
        peer: Peer = self.connection
        self.client = Client(peer, codec, node.hub, node.clock(), timeouts=node.timeouts, queue_limit=node.limits.queue)

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


class Node(Parts):
    """Everything that serves clients, but for connections and timers."""

    def __init__(
        self, *, broker: Broker | None = None, limits: Limits | None = None, timeouts: Timeouts | None = None
    ) -> None:
        self.clock = Clock()
        self.broker = broker or MemoryBroker()
        self.presence: Presence = MemoryPresence()
        self.limits = limits or Limits()
        self.timeouts = timeouts or Timeouts()
        super().__init__(
            self.broker,
            self.presence,
            None,
            self.limits,
            check_thread=lambda: None,
            watch=lambda client: None,
            clock=self.clock,
            wall_clock=self.clock,
        )
        self.channels.with_tokens = True  # which tests put into `auth`

    async def __aenter__(self) -> Node:
        await self.broker.start(self.hub)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for client in list(self.hub.clients.values()):
            client.closed()
        await self.tasks.settle()
        await self.broker.close()

    def use(self, *, broker: Broker | None = None, presence: Presence | None = None) -> None:
        """Put another broker or presence into the place of what is there."""
        if broker is not None:
            self.broker = self.publisher.broker = self.listening.broker = broker
            self.leaving.broker = self.subscriptions.broker = self.reading.broker = broker
        if presence is not None:
            self.presence = self.attendance.store = self.reading.presence = presence

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
