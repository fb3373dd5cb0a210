"""The settings of a node and of its channels. Values that make no sense are refused where the program sets them."""

from __future__ import annotations

import dataclasses
from typing import Literal

from trunkline.realtime.limits import Rate, check_count, check_rate, check_seconds

__all__ = ["ChannelOptions", "Limits", "Slow", "Timeouts", "Who"]

#: The way out for a client that reads more slowly than its channel speaks, when its queue is full.
Slow = Literal["disconnect", "drop_oldest", "conflate", "block"]

#: The clients that may do something with a channel.
Who = Literal["anyone", "users", "subscribers", "token", "nobody"]

_NAMES = {"slow": ("disconnect", "drop_oldest", "conflate", "block"), "recover": ("stream", "cache", None)}
_WHO = {
    "subscribe": ("anyone", "users", "token", "nobody"),
    "publish": ("anyone", "users", "subscribers", "nobody"),
    "read": ("anyone", "users", "subscribers", "nobody"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one client.

    Attributes:
        channels: subscriptions.
        history: publications that it may recover, or read at a time.
        queue: bytes that may wait for it when it reads slowly; up to twice as many where publishers wait for room.
            Answers to its commands don't count: its next command waits until it has read them.
        calls: `rpc` commands carried out at the same time.
        rate: of commands. A command above it is refused with error 111. A client that goes on is disconnected.
    """

    channels: int = 128
    history: int = 300
    queue: int = 1 << 20
    calls: int = 16
    rate: Rate | None = Rate(100, 1000)  # noqa: RUF009  # a tuple, which can't change

    def check(self) -> None:
        """Check that they make sense; `Realtime` does it.

        Raises:
            TypeError, ValueError: if a value doesn't.
        """
        for name in ("channels", "history", "queue", "calls"):
            check_count(name, getattr(self, name))
        check_rate("rate", self.rate)


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """The options of the channels of a pattern.

    Attributes:
        history: publications to keep in each channel; 0 keeps none.
        ttl: seconds to keep them.
        recover: the publications that a client gets when it comes back. With "stream", the default of channels with
            history, it gets all that it missed, or word that it can't have them. With "cache", it gets the newest one,
            also when it comes the first time. With None, it gets none.
        presence: whether clients may ask who is there.
        join_leave: whether subscribers are told who comes and goes.
        slow: the way out when the queue of a client is full. With "disconnect", the client is disconnected with code
            3008, comes back and recovers. With "drop_oldest", the oldest publication of the channel that waits is
            dropped. With "conflate", of publications with one key only the newest waits. With "block", `publish` waits.
        subscribe: who may subscribe: "anyone", "users" (who aren't anonymous), those with a "token" for the channel,
            "nobody" (only the server subscribes clients).
        publish: which clients may publish: "anyone", "users", "subscribers", "nobody".
        read: which clients may ask for history and presence: the same.
        rate: at which all clients together may publish in a channel, None for no limit.
        binary: whether payloads may be other than JSON. Then only clients that speak Protobuf can subscribe.

    Raises:
        TypeError, ValueError: if a value makes no sense.
    """

    history: int = 0
    ttl: float = 300
    recover: Literal["stream", "cache"] | None = "stream"
    presence: bool = False
    join_leave: bool = False
    slow: Slow = "disconnect"
    subscribe: Who = "anyone"
    publish: Who = "nobody"
    read: Who = "subscribers"
    rate: Rate | None = None
    binary: bool = False

    def __post_init__(self) -> None:
        check_count("history", self.history)
        check_seconds("ttl", self.ttl)
        check_rate("rate", self.rate)
        for name, values in (_NAMES | _WHO).items():
            if getattr(self, name) not in values:
                raise ValueError(f"{name} is {getattr(self, name)!r}: it must be one of {', '.join(map(repr, values))}")

    @property
    def recoverable(self) -> bool:
        """Whether clients can recover."""
        return self.history > 0 and self.ttl > 0 and self.recover is not None
