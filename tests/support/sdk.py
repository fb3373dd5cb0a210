"""The official client library for Python, against a server of rooms in the same loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import centrifuge

from tests.support.loop import run_clean
from trunkline.realtime import Realtime

PATIENCE = 30


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scene(), PATIENCE)

    run_clean(main)


@contextlib.asynccontextmanager
async def serving(rt: Realtime, **kwargs: Any) -> AsyncIterator[str]:
    """Serve alone; gives the URL."""
    async with rt, rt.serve("127.0.0.1", 0, **kwargs) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/connection/websocket"


class Events(centrifuge.SubscriptionEventHandler):
    """The events of one channel that an official client library reports."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue()

    async def on_subscribed(self, ctx: Any) -> None:
        self.queue.put_nowait(("subscribed", ctx))

    async def on_subscribing(self, ctx: Any) -> None:
        self.queue.put_nowait(("subscribing", ctx))

    async def on_unsubscribed(self, ctx: Any) -> None:
        self.queue.put_nowait(("unsubscribed", ctx))

    async def on_publication(self, ctx: Any) -> None:
        self.queue.put_nowait(("publication", ctx))

    async def expect(self, kind: str) -> Any:
        while True:
            heard, ctx = await self.queue.get()
            if heard == kind:
                return ctx


def sdk(url: str, protobuf: bool = False, **kwargs: Any) -> centrifuge.Client:
    return centrifuge.Client(url, use_protobuf=protobuf, min_reconnect_delay=0.01, proxy=None, **kwargs)


def payload(value: Any, protobuf: bool) -> Any:
    """The SDK takes and gives bytes with Protobuf, and objects with JSON."""
    return json.dumps(value).encode() if protobuf else value


def value(payload: Any) -> Any:
    return json.loads(payload) if isinstance(payload, bytes) else payload
