"""A client of the realtime protocol in JSON, as simple as can be: what the chat page is to the server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from tests.support.pair import connect
from trunkline.asyncio.server import Server


class Page:
    """One connection. Pushes wait in `pushes`, in their order, while a command is answered."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.pushes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.entered: dict[str, Any] = {}  # what the server answered to the first subscription
        self._last_id = 0

    async def listen(self) -> None:
        async for frame in self.connection:
            for reply in map(msgspec.json.decode, frame.splitlines()):
                if "push" in reply:
                    self.pushes.put_nowait(reply["push"])
                elif "id" in reply:
                    self._replies.pop(reply["id"]).set_result(reply)
                else:
                    await self.connection.send("{}")

    async def ask(self, command: str, **request: Any) -> dict[str, Any]:
        """Send a command; returns its result, or what stands in the error."""
        self._last_id += 1
        answer = self._replies[self._last_id] = asyncio.get_running_loop().create_future()
        await self.connection.send_json({"id": self._last_id, command: request})
        reply = await answer
        result: dict[str, Any] = reply[command] if command in reply else reply["error"]
        return result

    async def push(self, kind: str) -> dict[str, Any]:
        """The next push of this kind; others are passed over."""
        while True:
            push = await self.pushes.get()
            if kind in push:
                payload: dict[str, Any] = push[kind]
                return payload


@contextlib.asynccontextmanager
async def opened_page(server: Server, path: str, **request: Any) -> AsyncIterator[Page]:
    """A client that has sent the connect command."""
    async with connect(server, path) as connection:
        page = Page(connection)
        listening = asyncio.create_task(page.listen())
        try:
            await page.ask("connect", **request)
            yield page
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
