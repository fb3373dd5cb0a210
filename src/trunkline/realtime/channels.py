"""Channels by pattern: "chat:{room}" declares every channel of that form, and what holds for each of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, Final, Literal, Self

from trunkline.realtime.codes import BAD_REQUEST, UNKNOWN_CHANNEL, Refused
from trunkline.realtime.hooks import Hook, only_one, takes
from trunkline.realtime.limits import Rate, check_count, check_rate, check_seconds
from trunkline.realtime.plain import PlainCodec

__all__ = ["Channel", "ChannelOptions", "Channels", "Pattern", "Slow", "Who"]

#: What happens to a client that reads more slowly than its channel speaks, when its queue is full.
Slow = Literal["disconnect", "drop_oldest", "conflate", "block"]

#: Who may do something with a channel.
Who = Literal["anyone", "users", "subscribers", "token", "nobody"]

LONGEST_NAME: Final = 255
"""Characters in the name of a channel: clients choose names, and the server has to remember them."""

_NAMES = {"slow": ("disconnect", "drop_oldest", "conflate", "block"), "recover": ("stream", "cache", None)}
_WHO = {
    "subscribe": ("anyone", "users", "token", "nobody"),
    "publish": ("anyone", "users", "subscribers", "nobody"),
    "read": ("anyone", "users", "subscribers", "nobody"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """What holds for the channels of a pattern.

    Attributes:
        history: publications to keep in each channel; 0 keeps none.
        ttl: seconds to keep them.
        recover: what a client gets that comes back: with "stream", the default of channels with history, everything it
            missed, or word that it can't have it; with "cache", the newest publication, also when it comes the first
            time; None, nothing.
        presence: whether clients may ask who is there.
        join_leave: whether subscribers are told who comes and goes.
        slow: what happens when the queue of a client is full: it is disconnected with code 3008, comes back and
            recovers ("disconnect"); the oldest publication of the channel that waits is dropped ("drop_oldest"); of
            publications with one key only the newest waits ("conflate"); or `publish` waits ("block").
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


class Pattern:
    """Names of channels: text, and in braces names of parameters, each standing for some characters other than ":".

    Raises:
        ValueError: if the pattern is malformed.
    """

    def __init__(self, text: str) -> None:
        pieces = re.split(r"\{([^{}]*)\}", text)
        self.text = text
        self.parameters: tuple[str, ...] = tuple(pieces[1::2])
        self.shape: tuple[str, ...] = tuple(pieces[::2])
        for name in self.parameters:
            if not name.isidentifier() or self.parameters.count(name) > 1:
                raise ValueError(
                    f"the pattern {text!r} has a parameter {name!r}: names must be identifiers, each used once"
                )
        if not text or any(brace in piece for piece in pieces[::2] for brace in "{}"):
            raise ValueError(f"the pattern {text!r} is empty, or has a brace without its counterpart")
        self._regex = re.compile(
            "".join(f"(?P<{piece}>[^:]+)" if i % 2 else re.escape(piece) for i, piece in enumerate(pieces)), re.DOTALL
        )

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    @property
    def precision(self) -> tuple[int, ...]:
        """How much it says of a name: more than any other pattern that all its names match, too."""
        lengths = [len(text) for text in self.shape]
        return sum(lengths), len(self.parameters), *lengths

    def match(self, channel: str) -> dict[str, str] | None:
        """The values of the parameters in the name of a channel, None if it isn't of this form."""
        found = self._regex.fullmatch(channel)
        return None if found is None else found.groupdict()

    def format(self, **parameters: object) -> str:
        """The name of the channel with these parameters.

        Raises:
            KeyError: if one is missing.
        """
        return self.text.format_map(parameters)


class Channel:
    """The channels of a pattern: what holds for them, and what the program does for them. Made by `Realtime.channel`.

    Used as a decorator, it makes a function decide who may subscribe::

        @rt.channel("chat:{room}", history=100)
        async def chat(client, room):
            if room not in rooms_of(client.user):
                raise Refused()

    Attributes:
        pattern: of their names.
        options: what holds for them.
    """

    def __init__(self, pattern: Pattern, options: ChannelOptions) -> None:
        self.pattern = pattern
        self.options = options
        self.subscribe_hook: Hook | None = None
        self.publish_hook: Hook | None = None
        self.unsubscribe_hook: Hook | None = None
        self.plain = PlainCodec(None, None)
        self._plain: dict[str, Any] = {"to_plain": None, "from_plain": None}

    def __repr__(self) -> str:
        return f"<Channel {self.pattern.text}>"

    def __call__(self, function: Callable[..., Any]) -> Self:
        """Call a function, sync or async, when a client subscribes.

        It gets the client, the parameters of the pattern by name, and, if it has one more parameter, what the client
        sent along. It raises `Refused`, or returns what the client shall be told, None for nothing.
        """
        only_one(f"the function for subscriptions to {self.pattern.text}", self.subscribe_hook)
        self.subscribe_hook = Hook(function, self.pattern.parameters)
        return self

    def on_publish(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Call a function, sync or async, when a client publishes.

        It gets the client, the message as the type that its parameter is annotated with, and the parameters of the
        pattern by name. It raises `Refused`, or returns what shall be published instead, None for the message as it is.
        """
        only_one(f"on_publish of {self.pattern.text}", self.publish_hook)
        self.publish_hook = Hook(function, self.pattern.parameters)
        return function

    def on_unsubscribe(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Call a function, sync or async, with a client that isn't subscribed any more, and the parameters."""
        only_one(f"on_unsubscribe of {self.pattern.text}", self.unsubscribe_hook)
        self.unsubscribe_hook = Hook(function, self.pattern.parameters, sent=False)
        return function

    def to_plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function make what plain clients are sent (`Realtime.plain`).

        It gets what was published, as the type that its parameter is annotated with, and returns str or bytes, or None
        for nothing.
        """
        self._change_plain(to_plain=function)
        return function

    def from_plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Let a function make what is published from what plain clients send.

        It gets str or bytes, and returns anything that can be JSON, or raises `Refused`.
        """
        self._change_plain(from_plain=function)
        return function

    def _change_plain(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            only_one(f"{name} of {self.pattern.text}", self._plain[name])
            takes(function, "a message")
        self._plain.update(functions)
        self.plain = PlainCodec(**self._plain)


class Channels:
    """The channels that are declared.

    Of the patterns that a name matches, the one with the most text of its own counts, so "chat:staff" before
    "chat:{room}"; of two with as much, the one with more parameters; then the one that begins with more text; then the
    one that was declared first.
    """

    def __init__(self) -> None:
        self._channels: list[Channel] = []  # the most precise first

    def declare(self, pattern: str, options: ChannelOptions) -> Channel:
        """Declare the channels of a pattern.

        Raises:
            ValueError: if it is malformed, or one that matches the same names is declared already.
        """
        channel = Channel(Pattern(pattern), options)
        for known in self._channels:
            if known.pattern.shape == channel.pattern.shape:
                raise ValueError(f"the channel {pattern!r} is declared already, as {known.pattern.text!r}")
        self._channels.append(channel)
        self._channels.sort(key=lambda each: each.pattern.precision, reverse=True)
        return channel

    def find(self, name: str) -> tuple[Channel, dict[str, str]] | None:
        """What is declared for the channel of this name, and the parameters in its name. Nothing is for a long name."""
        if len(name) > LONGEST_NAME:
            return None
        for channel in self._channels:
            parameters = channel.pattern.match(name)
            if parameters is not None:
                return channel, parameters
        return None

    def get(self, name: str) -> tuple[Channel, dict[str, str]]:
        """The same, for a client.

        Raises:
            Refused: if nothing is declared.
        """
        found = self.find(name)
        if found is not None:
            return found
        raise Refused(BAD_REQUEST, too_long(name)) if len(name) > LONGEST_NAME else Refused(UNKNOWN_CHANNEL)


def too_long(name: str) -> str:
    """What is wrong with a name of more than `LONGEST_NAME` characters."""
    return f"the name of a channel has {len(name)} characters: at most {LONGEST_NAME} are allowed"
