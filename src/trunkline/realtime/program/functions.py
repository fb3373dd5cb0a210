"""The functions that the program registers for a node, apart from those of its channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trunkline.realtime.program.hooks import Hook

__all__ = ["Functions"]


class Functions:
    """Functions of the program, each None until the program registers one.

    Attributes:
        connect: called when a client connects.
        message: called with a message outside of channels.
        refresh: called with a client's new token.
        disconnect: called when a client is gone.
        procedures: by the name that clients call.
    """

    def __init__(self) -> None:
        self.connect: Hook | None = None
        self.message: Hook | None = None
        self.refresh: Callable[..., Any] | None = None
        self.disconnect: Hook | None = None
        self.procedures: dict[str, Hook] = {}
