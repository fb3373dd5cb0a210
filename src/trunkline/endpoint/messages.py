"""Loops over the messages of a connection whose `recv` isn't ours: that of a subclass, or of a test or a tracer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from trunkline.exceptions import ConnectionClosedOK
from trunkline.typing import Data

__all__ = ["AsyncMessages", "messages"]


class AsyncMessages(AsyncIterator[Data]):
    """What `async for` goes through."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    async def __anext__(self) -> Data:
        if self._connection is None:
            raise StopAsyncIteration
        try:
            message: Data = await self._connection.recv()
        except ConnectionClosedOK:
            raise StopAsyncIteration from None
        return message

    async def aclose(self) -> None:
        """Give no more messages."""
        self._connection = None


def messages(connection: Any) -> Iterator[Data]:
    """What `for` goes through."""
    while True:
        try:
            message: Data = connection.recv()
        except ConnectionClosedOK:
            return
        yield message
