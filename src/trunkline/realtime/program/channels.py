"""Channels by pattern: "chat:{room}" declares every channel of that form, its options and its functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Self

from trunkline.realtime.codes import BAD_REQUEST, UNKNOWN_CHANNEL, Refused
from trunkline.realtime.options import ChannelOptions
from trunkline.realtime.program.hooks import Hook, only_one, parameters_of, takes, type_of
from trunkline.realtime.publication import as_text
from trunkline.realtime.wire.plain import PlainCodec

__all__ = ["LONGEST_NAME", "Channel", "Channels", "Pattern"]

LONGEST_NAME: Final = 255
"""Characters in the name of a channel: clients choose names, and the server has to remember them."""

MOST_KNOWN: Final = 1024  # names of channels that are remembered, since clients choose them


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
        match = self._regex.fullmatch(channel)
        return None if match is None else match.groupdict()

    def format(self, **parameters: object) -> str:
        """The name of the channel with these parameters.

        Raises:
            KeyError: if one is missing.
        """
        return self.text.format_map(parameters)


class Channel:
    """The channels of a pattern: their options, and the functions of the program for them. Made by `Realtime.channel`.

    Used as a decorator, it makes a function decide who may subscribe::

        @rt.channel("chat:{room}", history=100)
        async def chat(client, room):
            if room not in rooms_of(client.user):
                raise Refused()

    Attributes:
        pattern: of their names.
        options: of each of them.
    """

    def __init__(self, pattern: Pattern, options: ChannelOptions) -> None:
        self.pattern = pattern
        self.options = options
        self.subscribe_hook: Hook | None = None
        self.publish_hook: Hook | None = None
        self.unsubscribe_hook: Hook | None = None
        self.plain = PlainCodec()
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
        to_plain = self._plain["to_plain"]
        takes_type = Any if to_plain is None else type_of(parameters_of(to_plain)[0])
        self.plain = PlainCodec(**self._plain, type=takes_type)


class Channels:
    """The channels that are declared.

    Of the patterns that a name matches, the one with the most text of its own counts, so "chat:staff" before
    "chat:{room}". Of two with as much, the one with more parameters counts. Then the one that begins with more text
    does, then the one that was declared first.

    Args:
        with_tokens: whether something checks tokens, which channels may demand.
    """

    def __init__(self, *, with_tokens: bool = True) -> None:
        self.with_tokens = with_tokens
        self._channels: list[Channel] = []  # the most precise first
        self._known: dict[str, tuple[Channel, dict[str, str]]] = {}  # names that were looked up

    def declare(self, pattern: str, options: ChannelOptions) -> Channel:
        """Declare the channels of a pattern.

        Raises:
            ValueError: if it is malformed, or one that matches the same names is declared already, or it needs tokens.
        """
        if options.subscribe == "token" and not self.with_tokens:
            raise ValueError(f"{pattern!r} has subscribe='token', but nothing checks tokens: use Realtime(tokens=...)")
        channel = Channel(Pattern(pattern), options)
        for known in self._channels:
            if known.pattern.shape == channel.pattern.shape:
                raise ValueError(f"the channel {pattern!r} is declared already, as {known.pattern.text!r}")
        self._known.clear()
        self._channels.append(channel)
        self._channels.sort(key=lambda each: each.pattern.precision, reverse=True)
        return channel

    def find(self, name: str) -> tuple[Channel, dict[str, str]] | None:
        """The declared channel that a name matches, and the parameters in the name; None if there is none.

        A long name matches none.
        """
        known = self._known.get(name)
        if known is not None:
            return known
        if len(name) > LONGEST_NAME:
            return None
        for channel in self._channels:
            parameters = channel.pattern.match(name)
            if parameters is not None:
                if len(self._known) >= MOST_KNOWN:
                    self._known.clear()
                self._known[name] = channel, parameters
                return channel, parameters
        return None

    def declared(self, channel: str) -> tuple[Channel, str]:
        """The declared channel that a name matches, for the program, and the name as a plain str.

        Raises:
            LookupError: if there is none.
            TypeError: if the name isn't text.
            ValueError: if it is text that can't be sent.
        """
        name = as_text("channel", channel)
        declared = self.find(name)
        if declared is not None:
            return declared[0], name
        if len(name) > LONGEST_NAME:
            raise LookupError(too_long(name))
        raise LookupError(f"no channel is declared whose pattern matches {name!r}: declare one with channel()")

    def get(self, name: str) -> tuple[Channel, dict[str, str]]:
        """The same as `find`, for a client.

        Raises:
            Refused: if there is none.
        """
        declared = self.find(name)
        if declared is not None:
            return declared
        raise Refused(BAD_REQUEST, too_long(name)) if len(name) > LONGEST_NAME else Refused(UNKNOWN_CHANNEL)


def too_long(name: str) -> str:
    """Say that a name has more than `LONGEST_NAME` characters."""
    return f"the name of a channel has {len(name)} characters: at most {LONGEST_NAME} are allowed"
