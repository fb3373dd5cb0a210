"""The declarations of a program: channels, and functions for what clients do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from trunkline.realtime.options import ChannelOptions
from trunkline.realtime.program.channels import Channel, Channels
from trunkline.realtime.program.functions import Functions
from trunkline.realtime.program.hooks import Hook, only_one, resolving

__all__ = ["Declaring"]

F = TypeVar("F", bound=Callable[..., Any])


class Declaring:
    """The part of `Realtime` with which a program declares channels and registers functions.

    Functions for what clients do may have parameters besides that FastAPI resolves, such as `Depends(…)`. They need
    clients that came through `Realtime.asgi`. An `HTTPException` of a dependency becomes a `Refused`.
    """

    _channels: Channels
    _functions: Functions

    def channel(self, pattern: str, **options: Any) -> Channel:
        """Declare the channels of a pattern, such as "chat:{room}"; see `ChannelOptions` for what can be said of them.

        Args:
            pattern: text with names of parameters in braces, each standing for one character or more other than ":".
            options: attributes of `ChannelOptions`.

        Returns:
            The channel: a decorator for the function that decides who may subscribe.

        Of several patterns that match the name of a channel, the one with the most text of its own counts, in whichever
        order they are declared: "chat:staff" before "chat:{room}".

        Raises:
            ValueError: if the pattern is malformed, or matches the same names as one that is declared already. If an
                option makes no sense, such as subscribe="token" without `tokens`.
            TypeError: if an option is unknown.
        """
        return self._channels.declare(pattern, ChannelOptions(**options))

    def on_connect(self, function: F) -> F:
        """Call a function, sync or async, when a client connects.

        It gets the client, and, if it has one more parameter, the data that the client sent along. It may set
        `client.user`, `client.info` and `client.channels`, and may raise `Refused` or `Disconnected`. It returns data
        for the client, None for nothing.

        Raises:
            TypeError: if the function takes other arguments. So do the others here.
            ValueError: if there is such a function already. So do the others here.
        """
        only_one("on_connect", self._functions.connect)
        self._functions.connect = Hook(function)
        return function

    def on_message(self, function: F) -> F:
        """Call a function, sync or async, with a client and a message that it sent outside of channels."""
        only_one("on_message", self._functions.message)
        self._functions.message = Hook(function)
        return function

    def on_disconnect(self, function: F) -> F:
        """Call a function, sync or async, with a client that was connected and is no more."""
        only_one("on_disconnect", self._functions.disconnect)
        self._functions.disconnect = Hook(function, sent=False)
        return function

    def on_refresh(self, function: F) -> F:
        """Call a function, sync or async, with a client and the new token that it sent, before `client.ttl` is over.

        It returns the seconds until the next time, None for never, or raises `Refused` or `Disconnected`. Without any
        time left, or with `Refused` 109 or 110, the client is disconnected with 3005 and comes back with another token.
        Not needed for the tokens that `Realtime` was given `tokens` for.
        """
        only_one("on_refresh", self._functions.refresh)
        self._functions.refresh = resolving(function, "a client", "a token")
        return function

    def rpc(self, name: str) -> Callable[[F], F]:
        """Let clients call a function, sync or async. It gets the client and the data of the call, and returns the
        result.

        Args:
            name: of the method, as clients call it.
        """

        def register(function: F) -> F:
            only_one(f"rpc {name!r}", self._functions.procedures.get(name))
            self._functions.procedures[name] = Hook(function)
            return function

        return register
