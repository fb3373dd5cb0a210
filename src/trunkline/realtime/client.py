"""One client of a node: how far its connection is, what it subscribes to, when something is due. No I/O, no clock.

    state        event                                  next state
    NEW          connect command                        CONNECTING
    NEW          any other command                      CLOSED, 3501
    NEW          nothing within `stale`                 CLOSED, 3502
    CONNECTING   connect accepted                       CONNECTED
    CONNECTING   connect refused                        NEW, after an error in reply
    CONNECTED    connect command                        CLOSED, 3501
    CONNECTED    no answer to a ping in time            CLOSED, 3012
    CONNECTED    its time is over, and not refreshed    CLOSED, 3005
    CONNECTED    the peer closes, or is gone            CLOSED; what it said before is still carried out

The commands themselves are carried out by `commands.Commands`, which may have to wait. What goes to the client leaves
at once, or, where the client is late, through its outbox.
"""

from __future__ import annotations

import dataclasses
import enum
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from trunkline.core.writer import PreparedMessage
from trunkline.realtime import codes
from trunkline.realtime.channels import Channel
from trunkline.realtime.codecs import Codec
from trunkline.realtime.home import Home
from trunkline.realtime.identity import Identity
from trunkline.realtime.limits import TokenBucket, check_seconds
from trunkline.realtime.messages import Command, Error, Garbled, Push, Reply
from trunkline.realtime.outbox import Outbox
from trunkline.realtime.publication import ClientInfo, Publication

if TYPE_CHECKING:
    import asyncio

__all__ = ["Client", "Peer", "State", "Subscription", "Timeouts"]


class Peer(Protocol):
    """What a client asks of its connection."""

    on_writable: Callable[[], None] | None
    on_closing: Callable[[], None] | None
    session: Any
    transport: Any

    def send_nowait(self, message: PreparedMessage) -> bool: ...
    def start_closing(self, code: int, reason: str) -> None: ...


class Keeper(Protocol):
    """What a client asks of the hub."""

    home: Home

    def flushed(self, client: Client) -> None: ...
    def closed(self, client: Client) -> None: ...


class State(enum.IntEnum):
    """How far a client is."""

    NEW, CONNECTING, CONNECTED, CLOSED = range(4)


@dataclasses.dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds.

    Attributes:
        stale: for the connect command.
        ping: between pings, None for none.
        pong: for the answer to one.
        expired: for a new token, after the old one expired.
        resume: for subscribing again, after the server asked for it.
        close: for commands, hooks, presence and the broker, when the server or the `Realtime` closes.
    """

    stale: float = 15
    ping: float | None = 25
    pong: float = 8
    expired: float = 25
    resume: float = 25
    close: float = 10

    def check(self) -> None:
        """Check that they make sense; `Realtime` does it.

        Raises:
            TypeError, ValueError: if a value doesn't.
        """
        check_seconds("stale", self.stale, positive=True)
        if self.ping is not None:
            check_seconds("ping", self.ping, positive=True)
        check_seconds("pong", self.pong, positive=True)
        for name in ("expired", "resume", "close"):
            check_seconds(name, getattr(self, name))


class Subscription:
    """A client in a channel.

    Attributes:
        channel: the declared channel that its name matches.
        options: what holds for the subscription.
        name: of the channel.
        parameters: what stands in the name for the parameters of the pattern.
        server_side: the server subscribed the client, which knows it as such.
        buffer: what was delivered since it began, and can't be sent before the reply; None once that has left.
        skip: offset up to which it has everything.
        lost: the broker may have lost publications, and the client must recover: nothing more is delivered.
        resuming: the client was told to subscribe again. Others needn't know of it.
        announced: others may know of it, and must be told when it ends.
        before: the one that it resumes, until its reply has left.
        ended: code with which the server ended it while it began.
        info: what others see of the client here.
        ends_at: when it ends unless it is refreshed, on the clock of `now`; None: never.
    """

    __slots__ = (
        "announced", "before", "buffer", "channel", "ended", "ends_at", "info", "lost", "name", "options", "parameters",
        "resuming", "server_side", "skip",
    )  # fmt: skip

    def __init__(self, name: str, channel: Channel, parameters: dict[str, str], *, server_side: bool = False) -> None:
        self.name = name
        self.channel = channel
        self.options = channel.options
        self.parameters = parameters
        self.server_side = server_side
        self.buffer: list[Publication] | None = []
        self.skip = 0
        self.lost = self.resuming = self.announced = False
        self.before: Subscription | None = None
        self.ended: int | None = None
        self.info: ClientInfo | None = None
        self.ends_at: float | None = None

    def resume(self, before: Subscription) -> None:
        """Take the place of a subscription that others know of. To them, nothing changes."""
        self.before = before
        self.info, self.announced = before.info, before.announced

    @property
    def present(self) -> bool:
        """Whether the presence of the channel may show the client."""
        return self.options.presence or (self.before is not None and self.before.options.presence)


class Client(Identity):
    """A connected client, as hooks get it.

    Attributes:
        id: of the connection, unique.
        user: id of the user, "" if anonymous: text. Set it in a connect hook.
        info: what others may know of the client: any object, sent as JSON in presence, joins and publications. Set it
            in a connect hook.
        channels: names of channels that the server subscribes the client to. Set them in a connect hook.
        token: with which it connected, "" if without.
        meta: what its token says for the server alone, as JSON; None if nothing.
        ttl: seconds after which the client must refresh its token, None for never. Set it in a connect hook.
        data: yours, None at first.
        connection: the WebSocket connection, with its `request`.
        name, version: what the client library calls itself.
        shown: what others see of the client, once it is connected.
        state: how far it is.
        was_connected: whether a connect command was accepted.
        subscriptions: by name of the channel.
        leaving: the peer closes the connection, or is gone.
        past: the subscriptions that it had then, if it was connected.
    """

    __slots__ = (
        "backlog", "bucket", "busy", "caught_up", "codec", "connection", "ends_at", "hub", "id", "leaving",
        "outbox", "past", "ping_at", "pong_due", "queue_limit", "refusals", "stale_at", "state", "subscriptions",
        "timeouts", "wake_at", "was_connected",
    )  # fmt: skip

    def __init__(
        self, connection: Any, codec: Codec, hub: Keeper, now: float, *, timeouts: Timeouts, queue_limit: int = 1 << 20
    ) -> None:
        super().__init__()
        self.id = str(uuid.uuid4())
        self.bucket: TokenBucket | None = None
        self.refusals = 0  # commands above the rate, one after the other
        self.connection = connection
        self.codec = codec
        self.hub = hub
        self.state = State.NEW
        self.was_connected = False
        self.subscriptions: dict[str, Subscription] = {}
        self.timeouts = timeouts
        self.queue_limit = queue_limit
        self.outbox: Outbox | None = None
        self.busy = False
        self.leaving = False
        self.past: dict[str, Subscription] | None = None
        self.caught_up: asyncio.Event | None = None  # set when its queue becomes shorter
        self.stale_at: float | None = now + timeouts.stale
        self.ping_at: float | None = None
        self.pong_due: float | None = None
        self.backlog = 0, 0  # at the last ping
        self.ends_at: float | None = None
        self.wake_at: float | None = None  # when `Deadlines` looks at it

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.state.name} user={self.user!r}>"

    # Sending

    def send_nowait(self, message: PreparedMessage) -> None:
        """Send a frame that mustn't get lost."""
        if not self.connection.send_nowait(message):
            self.queue(message)

    def reply(self, id: int, **result: Any) -> None:
        """Answer a command."""
        self.answer(self.codec.encode([Reply(id, **result)]))

    def answer(self, message: PreparedMessage) -> None:
        """Send the answer to a command: the next one waits until the client has read it (`Hub.wait_read`)."""
        if not self.connection.send_nowait(message) and self.state is not State.CLOSED:
            self.late().append_answer(message)

    def push(self, push: Push) -> None:
        """Tell the client something that it didn't ask for."""
        if self.codec.events:
            self.send_nowait(self.codec.encode([Reply(push=push)]))

    def refuse(self, id: int, refused: codes.Refused) -> None:
        """Answer a command with an error."""
        self.reply(id, error=Error(refused.code, refused.message, refused.temporary))

    def queue(self, message: PreparedMessage) -> None:
        """Let a frame wait that the connection didn't take."""
        if self.state is not State.CLOSED:
            outbox = self.late()
            outbox.append(message)
            if outbox.overflowing:  # not earlier: publishers that wait for room may just have filled it
                self.disconnect(codes.SLOW)

    def late(self) -> Outbox:
        """The client is late: from now on until it caught up, everything waits here."""
        if self.outbox is None:
            self.outbox = Outbox(self.queue_limit)
            self.connection.on_writable = self._flush
        return self.outbox

    def _flush(self) -> None:
        if self.outbox is None:
            return
        self.pong_due = None  # it reads: its answer stands behind what it hasn't read yet
        self.outbox.flush(self.connection.send_nowait)
        if not len(self.outbox):
            self.outbox = None
        self.hub.flushed(self)

    # States

    def heard(self) -> None:
        """A frame came: whatever it says, the client is there."""
        self.pong_due = None

    def admit(self, command: Command | Garbled) -> None:
        """Check that a command may come now.

        Raises:
            Disconnected: if it may not.
        """
        if command.connect is not None:
            if self.state is not State.NEW:
                raise codes.Disconnected(codes.INVALID_REQUEST, "client is connected already")
        elif self.state is not State.CONNECTED and self.past is None:
            raise codes.Disconnected(codes.INVALID_REQUEST, "the first command must be connect")

    def connecting(self) -> None:
        """A connect command is carried out."""
        self.state = State.CONNECTING
        self.stale_at = None

    def connected(self, now: float, spread: float = 1.0) -> None:
        """The connect command was accepted.

        Args:
            spread: where in the first interval the first ping falls, 0 to 1, so that clients aren't pinged all at once.
        """
        self.state = State.CONNECTED
        self.was_connected = True
        if self.timeouts.ping is not None:
            self.ping_at = now + self.timeouts.ping * spread

    def connect_refused(self, now: float) -> None:
        """It was not: nothing of it stays, and the client may try again."""
        self.forget()
        self.end_at(None)
        self.state = State.NEW
        self.stale_at = now + self.timeouts.stale

    def disconnect(self, code: int = codes.FORCE_DISCONNECT, reason: str | None = None) -> None:
        """Close the connection; client libraries go by the code (see `codes.DISCONNECTS` and `codes.reason_for`)."""
        self.hub.home.check_thread()
        reason = codes.reason_for(code, reason)
        self.past = None
        if self.state is not State.CLOSED:
            self.closed()
            self.connection.start_closing(code, reason)

    def closed(self) -> None:
        """The connection is closing, or gone."""
        if self.state is not State.CLOSED:
            self.state = State.CLOSED
            self.outbox = None
            self.connection.on_writable = self.connection.on_closing = None
            self.hub.closed(self)

    def peer_left(self) -> None:
        """The peer closes the connection, or is gone: others see that at once, whatever its command waits for.

        Commands that it sent before are still carried out. While it connects, that comes to its end first.
        """
        self.leaving = True
        if self.state is State.CONNECTED:
            self.past = self.subscriptions
            self.closed()

    @property
    def standing(self) -> dict[str, Subscription]:
        """The subscriptions that count for what it may: after it has left, those that it would have."""
        return self.subscriptions if self.past is None else self.past

    @property
    def over(self) -> bool:
        """Whether nothing that the client says counts any more."""
        return self.state is State.CLOSED and self.past is None

    # Deadlines

    def end_at(self, when: float | None) -> None:
        """The connection ends then, unless a later call says otherwise; None: never."""
        self.ends_at = when

    @property
    def next_end(self) -> float | None:
        """When the next subscription ends unless it is refreshed; None: none does."""
        return min((each.ends_at for each in self.subscriptions.values() if each.ends_at is not None), default=None)

    def deadline(self) -> float | None:
        """When to call `on_deadline`, on the clock of `now`."""
        if self.state is State.NEW:
            return self.stale_at
        if self.state is not State.CONNECTED:
            return None
        ping = self.ping_at if self.pong_due is None else self.pong_due
        return min((each for each in (ping, self.ends_at, self.next_end) if each is not None), default=None)

    def on_deadline(self, now: float) -> list[Subscription]:
        """Do what is due.

        Returns:
            Subscriptions that have ended, for the caller to take leave of.
        """
        if self.state is State.NEW:
            if self.stale_at is not None and now >= self.stale_at:
                self.disconnect(codes.STALE)
        elif self.state is State.CONNECTED:
            if self.ends_at is not None and now >= self.ends_at:
                self.disconnect(codes.CONNECTION_EXPIRED)
            elif self.pong_due is not None:
                self._miss_pong(now)
            elif self.ping_at is not None and now >= self.ping_at:
                self._ping(now)
            return [each for each in self.subscriptions.values() if each.ends_at is not None and now >= each.ends_at]
        return []

    def _miss_pong(self, now: float) -> None:
        assert self.pong_due is not None, "the caller checked"
        if now < self.pong_due:
            return
        unsent, unread = self._backlog()
        inbox = self.connection.session.inbox
        if self.busy and (unread > self.backlog[1] or inbox.paused):  # its answer is behind what we haven't read yet
            self.pong_due = None
        elif unsent < self.backlog[0]:  # it reads: our ping is behind what it hasn't read yet
            self._expect_pong(now)
        else:
            self.disconnect(codes.NO_PONG)

    def _expect_pong(self, now: float) -> None:
        self.pong_due = now + self.timeouts.pong
        self.backlog = self._backlog()

    def _backlog(self) -> tuple[int, int]:
        """Bytes that wait to leave, and messages of the client that wait for us."""
        return self.connection.transport.get_write_buffer_size(), len(self.connection.session.inbox)

    def _ping(self, now: float) -> None:
        assert self.timeouts.ping is not None, "without it no ping is due"
        self.ping_at = now + self.timeouts.ping
        self._expect_pong(now)
        self.send_nowait(self.codec.ping)
