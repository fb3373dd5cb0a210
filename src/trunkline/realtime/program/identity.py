"""The identity of a client, as its token and the hooks of the program say. It is checked when they say it.

A wrong value would otherwise show much later, at some other client that is told of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from trunkline.realtime.publication import ClientInfo, as_text
from trunkline.realtime.wire.payloads import encode

__all__ = ["Identity"]


class Identity:
    """The part of a `Client` that says who it is. A connect command that is refused leaves nothing of it behind.

    Attributes:
        token: with which the client connected, "" if without.
        meta: what its token says for the server alone, as JSON; None if nothing.
        data: the program's own, None at first.
        name, version: what the client library calls itself.
        shown: what others see of the client; None until it is known who it is.
    """

    __slots__ = ("_channels", "_info", "_ttl", "_user", "data", "meta", "name", "shown", "token", "version")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be anonymous, as at first."""
        self._user = ""
        self._info: Any = None
        self._channels: list[str] = []
        self._ttl: float | None = None
        self.token = ""
        self.meta: bytes | None = None
        self.data: Any = None
        self.name = self.version = ""
        self.shown: ClientInfo | None = None

    @property
    def user(self) -> str:
        """Id of the user, "" if anonymous. Set it in a connect hook.

        Raises:
            TypeError: if it is set to something other than text.
            ValueError: if the text can't be sent.
            RuntimeError: if it is set when the client is connected, and others know it by the id that it had.
        """
        return self._user

    @user.setter
    def user(self, user: str) -> None:
        if self.shown is not None:
            raise RuntimeError(f"client.user is {self._user!r} and stays so; set it in the connect hook")
        self._user = as_text("client.user", user)

    @property
    def info(self) -> Any:
        """The part of the client that others may know: any object, sent as JSON in presence, joins and publications.

        Set it in a connect hook.

        Raises:
            TypeError: if it is set to something that can't be JSON.
            ValueError: if it has text that can't be sent.
        """
        return self._info

    @info.setter
    def info(self, info: Any) -> None:
        if info is not None:
            encode(info)
        self._info = info

    @property
    def channels(self) -> list[str]:
        """Names of channels that the server subscribes the client to. Set them, as a list, in a connect hook.

        Raises:
            TypeError: if they are set to something other than several texts.
            ValueError: if a text can't be sent.
        """
        return self._channels

    @channels.setter
    def channels(self, names: Iterable[str]) -> None:
        if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
            raise TypeError(f"client.channels is {names!r}: it must be a list of names")
        self._channels = list(dict.fromkeys(as_text("a name in client.channels", name) for name in names))

    @property
    def ttl(self) -> float | None:
        """Seconds after which the client must refresh its token, None for never. Set it in a connect hook. Without any
        left, the client is told that its token expired.

        Raises:
            TypeError: if it is set to something other than a number or None.
            ValueError: if the number isn't finite.
        """
        return self._ttl

    @ttl.setter
    def ttl(self, ttl: float | None) -> None:
        self._ttl = as_ttl("client.ttl", ttl)


def as_ttl(what: str, value: float | None) -> float | None:
    """Seconds, or None for ever.

    Args:
        what: the name of the value, for errors.

    Raises:
        TypeError: if it is neither.
        ValueError: if it isn't finite.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{what} is {value!r}: it must be a number of seconds, or None for ever")
    if not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}: it must be finite; None is for ever")
    return value
