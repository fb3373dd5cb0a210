"""ASGI applications under a uvicorn that runs in the test's own event loop, with our class."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

import trunkline
from trunkline.uvicorn import WebSocketProtocol

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Application = Callable[[Any, Receive, Send], Awaitable[Any]]


class OnTransports(WebSocketProtocol):
    """Our class, as it works where the reactor does not run."""

    engine = "transports"


CLASSES = [WebSocketProtocol, OnTransports]


class Running:
    """A uvicorn that runs."""

    def __init__(self, server: uvicorn.Server, task: asyncio.Task[None]) -> None:
        self.server = server
        self.task = task
        self.port: int = server.servers[0].sockets[0].getsockname()[1]
        self.scheme = "wss" if server.config.ssl else "ws"

    @property
    def connections(self) -> list[WebSocketProtocol]:
        """Those that uvicorn knows of."""
        return [connection for connection in self.server.server_state.connections if is_ours(connection)]

    def connect(self, path: str = "/", **options: Any) -> Any:
        """Connect a client of ours."""
        return trunkline.connect(f"{self.scheme}://127.0.0.1:{self.port}{path}", **options)

    async def stop(self) -> None:
        """Shut down as uvicorn does when it is told by a signal."""
        self.server.should_exit = True
        await self.task


def is_ours(connection: object) -> bool:
    return isinstance(connection, WebSocketProtocol)


@contextlib.asynccontextmanager
async def uvicorn_server(
    app: Application, ws: Any = WebSocketProtocol, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[Running]:
    """Run an application; `settings` are those of `uvicorn.Config`."""
    config = uvicorn.Config(app, ws=ws, **{"lifespan": "off", "log_config": None, "port": 0} | settings)
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        assert not task.done(), "uvicorn has ended"
        await asyncio.sleep(0.001)
    running = Running(server, task)
    try:
        yield running
    finally:
        await running.stop()


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    """The application that every library shows first."""
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
