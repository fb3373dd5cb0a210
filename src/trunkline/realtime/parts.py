"""The parts of a node, and how they fit together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from trunkline.realtime.brokers.base import Broker
from trunkline.realtime.commands.answer import CarryOut
from trunkline.realtime.commands.auth import Auth
from trunkline.realtime.commands.call import Calling
from trunkline.realtime.commands.connect import Connecting
from trunkline.realtime.commands.dispatch import Commands
from trunkline.realtime.commands.ends import Ends
from trunkline.realtime.commands.plain import Plain
from trunkline.realtime.commands.publish import Publishing
from trunkline.realtime.commands.read import Reading
from trunkline.realtime.commands.refresh import Refreshing
from trunkline.realtime.commands.subscribe import Subscribing
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.options import Limits
from trunkline.realtime.orders import Orders
from trunkline.realtime.presence.base import Presence
from trunkline.realtime.program.channels import Channels
from trunkline.realtime.program.functions import Functions
from trunkline.realtime.program.pace import Pace
from trunkline.realtime.publisher import Publisher
from trunkline.realtime.subscriptions.attendance import Attendance
from trunkline.realtime.subscriptions.entering import Subscriptions
from trunkline.realtime.subscriptions.gaps import Gaps
from trunkline.realtime.subscriptions.leaving import Leaving
from trunkline.realtime.subscriptions.listening import Listening
from trunkline.realtime.tasks import Tasks

if TYPE_CHECKING:
    from trunkline.realtime.tokens import Tokens

__all__ = ["Parts"]


class Parts:
    """Everything that serves clients, but for their connections, and the loop that it happens in.

    Args:
        broker: carries publications.
        presence: remembers the members of channels.
        tokens: checks the tokens of clients; None if they need none.
        limits: of each client.
        check_thread: raises `RuntimeError` in any thread but that of the event loop.
        watch: called with a client for which something may be due earlier.
        clock: seconds, never going back.
        wall_clock: seconds since 1970.
        stopwatch: seconds that go on also while the event loop doesn't turn; by default `clock`.
    """

    def __init__(
        self,
        broker: Broker,
        presence: Presence,
        tokens: Tokens | None,
        limits: Limits,
        *,
        check_thread: Callable[[], None],
        watch: Callable[[Client], None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        stopwatch: Callable[[], float] | None = None,
    ) -> None:
        self.hub = hub = Hub(check_thread, Pace(stopwatch or clock))
        self.channels = Channels(with_tokens=tokens is not None)
        self.functions = Functions()
        self.tasks = Tasks()
        self.auth = Auth(tokens, wall_clock)
        self.ends = Ends(clock, watch)
        self.publisher = Publisher(hub, broker)
        self.attendance = Attendance(hub, presence)
        self.listening = Listening(hub, broker)
        self.leaving = Leaving(hub, broker, self.attendance, self.listening, self.functions, self.tasks)
        self.gaps = Gaps(hub, clock, watch, self.tasks)
        self.subscriptions = Subscriptions(
            hub, self.channels, broker, limits, self.attendance, self.listening, self.leaving
        )
        self.orders = Orders(hub, self.subscriptions, self.ends)
        self.calling = Calling(self.functions, limits.calls, self.tasks)
        self.publishing = Publishing(self.channels, self.publisher, clock)
        self.reading = Reading(self.subscriptions, broker, presence)
        self.plain = Plain(self.subscriptions, self.publishing, clock)
        self.connecting = Connecting(hub, self.functions, self.auth, self.subscriptions, self.ends, clock)
        self.subscribing = Subscribing(self.subscriptions, self.auth, self.ends)
        self.refreshing = Refreshing(self.functions, self.auth, self.ends, self.subscriptions)
        self.commands = Commands(self._carry_out(), self.subscriptions, limits.rate, clock, self.tasks)

    def _carry_out(self) -> dict[str, CarryOut]:
        return {
            "publish": self.publishing.publish,
            "rpc": self.calling.rpc,
            "send": self.calling.send,
            "subscribe": self.subscribing.subscribe,
            "unsubscribe": self.subscribing.unsubscribe,
            "history": self.reading.history,
            "presence": self.reading.members,
            "presence_stats": self.reading.stats,
            "refresh": self.refreshing.refresh,
            "sub_refresh": self.refreshing.sub_refresh,
            "ping": self.calling.ping,
            "connect": self.connecting.connect,
        }

    def start_over(self) -> None:
        """The event loop was closed before the node was, and nothing goes on that belonged to it."""
        self.hub.pace.start_over()
        self.tasks.forget()
        self.calling.start_over()
        self.gaps.start_over()
        self.listening.start_over()
        self.leaving.start_over()
