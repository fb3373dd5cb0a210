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

`commands.Commands` carries out the commands, and may have to wait. Messages to the client leave at once, or, where the
client is late, through its outbox.
"""

from __future__ import annotations

import enum
import math
import uuid
from collections.abc import Callable
from typing import Any, Final, Protocol

from trunkline.core.writer import PreparedMessage
from trunkline.realtime import codes
from trunkline.realtime.hub.bell import Bell
from trunkline.realtime.hub.outbox import Outbox
from trunkline.realtime.hub.subscription import Subscription
from trunkline.realtime.limits import TokenBucket
from trunkline.realtime.options import Timeouts
from trunkline.realtime.peer import Backlog, Peer
from trunkline.realtime.program.identity import Identity
from trunkline.realtime.program.pace import Pace
from trunkline.realtime.wire.codecs import Codec
from trunkline.realtime.wire.messages import Command, Error, Garbled, Push, Reply

__all__ = ["Client", "ClientState", "together"]

NOTHING: Final = Backlog(0, 0, stopped=False)


class Keeper(Protocol):
    """The hub, as far as a client needs it."""

    check_thread: Callable[[], None]
    pace: Pace

    def flushed(self, client: Client) -> None: ...
    def closed(self, client: Client) -> None: ...
    def server_closing(self, client: Client) -> None: ...


class ClientState(enum.IntEnum):
    """How far a client is."""

    NEW, CONNECTING, CONNECTED, CLOSED = range(4)


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
        name, version: of the client library, as it says.
        shown: the facts that others see of the client, once it is connected.
        peer: the far end of its connection.
        state: how far it is.
        was_connected: whether a connect command was accepted.
        subscriptions: by name of the channel.
        leaving: the peer closes the connection, or is gone.
        known: its user and info, if the door through which it came has found them out; None if not.
        past: the subscriptions that it had then, if it was connected.
    """

    __slots__ = (
        "backlog", "bucket", "busy", "caught_up", "codec", "ends_at", "hub", "id", "known",
        "leaving", "outbox", "past", "peer",
        "ping_at", "pong_due", "queue_limit", "refusals", "stale_at", "state", "subscriptions", "timeouts", "wake_at",
        "was_connected",
    )  # fmt: skip

    def __init__(
        self, peer: Peer, codec: Codec, hub: Keeper, now: float, *, timeouts: Timeouts, queue_limit: int = 1 << 20
    ) -> None:
        super().__init__()
        self.id = str(uuid.uuid4())
        self.bucket: TokenBucket | None = None
        self.refusals = 0  # commands above the rate, one after the other
        self.peer = peer
        self.codec = codec
        self.hub = hub
        self.state = ClientState.NEW
        self.was_connected = False
        self.subscriptions: dict[str, Subscription] = {}
        self.timeouts = timeouts
        self.queue_limit = queue_limit
        self.outbox: Outbox | None = None
        self.busy = False
        self.leaving = False
        self.known: tuple[str, Any] | None = None
        self.past: dict[str, Subscription] | None = None
        self.caught_up: Bell | None = None  # rings when its queue becomes shorter
        self.stale_at: float | None = now + timeouts.stale
        self.ping_at: float | None = None
        self.pong_due: float | None = None
        self.backlog = NOTHING  # at the last ping
        self.ends_at: float | None = None
        self.wake_at: float | None = None  # when `Deadlines` looks at it

    @property
    def connection(self) -> Any:
        """The connection that carries it, such as a `ServerConnection`, with its `request`."""
        return self.peer.connection

    @property
    def scope(self) -> Any:
        """The scope of ASGI with which the client came; None unless it came through `Realtime.asgi`."""
        return getattr(self.peer, "scope", None)

    def __repr__(self) -> str:
        return f"<Client {self.id} {self.state.name} user={self.user!r}>"

    # Sending

    def send_nowait(self, message: PreparedMessage) -> None:
        """Send a frame that mustn't get lost."""
        if not self.peer.send_nowait(message):
            self.queue(message)

    def reply(self, id: int, **result: Any) -> None:
        """Answer a command."""
        self.answer(self.codec.encode([Reply(id, **result)]))

    def answer(self, message: PreparedMessage) -> None:
        """Send the answer to a command: the next one waits until the client has read it (`backpressure.wait_read`)."""
        if not self.peer.send_nowait(message) and self.state is not ClientState.CLOSED:
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
        if self.state is not ClientState.CLOSED:
            outbox = self.late()
            outbox.append(message)
            if outbox.overflowing:  # not earlier: publishers that wait for room may just have filled it
                self.disconnect(codes.SLOW)

    def late(self) -> Outbox:
        """The client is late: from now on until it caught up, everything waits here."""
        if self.outbox is None:
            self.outbox = Outbox(self.queue_limit)
            self.peer.on_writable = self._flush
        return self.outbox

    def _flush(self) -> None:
        if self.outbox is None:
            return
        self.pong_due = None  # it reads: its answer stands behind what it hasn't read yet
        self.outbox.flush(self.peer.send_nowait)
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
            if self.state is not ClientState.NEW:
                raise codes.Disconnected(codes.INVALID_REQUEST, "client is connected already")
        elif self.state is not ClientState.CONNECTED and self.past is None:
            raise codes.Disconnected(codes.INVALID_REQUEST, "the first command must be connect")

    def connecting(self) -> None:
        """A connect command is carried out."""
        self.state = ClientState.CONNECTING
        self.stale_at = None

    def connected(self, now: float, spread: float = 1.0) -> None:
        """The connect command was accepted.

        Args:
            spread: where in the first interval the first ping falls, 0 to 1, so that clients aren't pinged all at once.
        """
        self.state = ClientState.CONNECTED
        self.was_connected = True
        if self.timeouts.ping is not None:
            self.ping_at = together(now + self.timeouts.ping * spread, now)

    def connect_refused(self, now: float) -> None:
        """It was not: nothing of it stays, and the client may try again."""
        self.forget()
        self.end_at(None)
        self.state = ClientState.NEW
        self.stale_at = now + self.timeouts.stale

    def disconnect(self, code: int = codes.FORCE_DISCONNECT, reason: str | None = None) -> None:
        """Close the connection; client libraries go by the code (see `codes.DISCONNECTS` and `codes.reason_for`)."""
        self.hub.check_thread()
        reason = codes.reason_for(code, reason)
        self.past = None
        if self.state is not ClientState.CLOSED:
            self.closed()
            self.peer.start_closing(code, reason)

    def closed(self) -> None:
        """The connection is closing, or gone."""
        if self.state is not ClientState.CLOSED:
            self.state = ClientState.CLOSED
            self.outbox = None
            self.peer.on_writable = self.peer.on_closing = None
            self.hub.closed(self)

    def peer_left(self) -> None:
        """The peer closes the connection, or is gone: others see that at once, whatever its command waits for.

        Commands that it sent before are still carried out. While it connects, that comes to its end first.
        """
        self.leaving = True
        if self.state is ClientState.CONNECTED:
            self.past = self.subscriptions
            self.closed()

    def server_closing(self) -> None:
        """The server of its connection is about to close it."""
        self.hub.server_closing(self)

    @property
    def standing(self) -> dict[str, Subscription]:
        """The subscriptions that count for what it may: after it has left, those that it would have."""
        return self.subscriptions if self.past is None else self.past

    @property
    def over(self) -> bool:
        """Whether nothing that the client says counts any more."""
        return self.state is ClientState.CLOSED and self.past is None

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
        if self.state is ClientState.NEW:
            return self.stale_at
        if self.state is not ClientState.CONNECTED:
            return None
        ping = self.ping_at if self.pong_due is None else self.pong_due
        return min((each for each in (ping, self.ends_at, self.next_end) if each is not None), default=None)

    def on_deadline(self, now: float) -> list[Subscription]:
        """Do what is due.

        Returns:
            Subscriptions that have ended, for the caller to take leave of.
        """
        if self.state is ClientState.NEW:
            if self.stale_at is not None and now >= self.stale_at:
                self.disconnect(codes.STALE)
        elif self.state is ClientState.CONNECTED:
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
        backlog = self.peer.backlog()
        # Its answer may stand behind messages that no command has carried out yet.
        if self.busy and (backlog.unread > self.backlog.unread or backlog.stopped):
            self.pong_due = None
        elif backlog.unsent < self.backlog.unsent:  # it reads: the ping stands behind bytes that it hasn't read yet
            self._expect_pong(now)
        else:
            self.disconnect(codes.NO_PONG)

    def _expect_pong(self, now: float) -> None:
        self.pong_due = now + self.timeouts.pong
        self.backlog = self.peer.backlog()

    def _ping(self, now: float) -> None:
        assert self.timeouts.ping is not None, "without it no ping is due"
        self.ping_at = together(now + self.timeouts.ping, now)
        self._expect_pong(now)
        self.send_nowait(self.codec.ping)


def together(when: float, now: float) -> float:
    """The time of a ping, put off by at most 1/32 of the time that is left, if that is a second or more.

    So the pings of many clients leave together, and their answers come together. Waking up costs more than a ping.
    """
    left = when - now
    if left < 1:
        return when
    _, exponent = math.frexp(left)  # 2**(exponent - 1) <= left < 2**exponent
    step = math.ldexp(1.0, exponent - 6)
    return math.ceil(when / step) * step
