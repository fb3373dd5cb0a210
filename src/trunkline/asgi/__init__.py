"""trunkline in applications of FastAPI, Starlette and other frameworks that speak ASGI."""

from __future__ import annotations

from typing import Any

from trunkline.asgi.connection import EXTENSION, Stage
from trunkline.asgi.websocket import ASGIWebSocket, native_connection

__all__ = ["ASGIWebSocket", "connection"]


def connection(websocket: Any) -> Any:
    """The connection of an endpoint, for handlers that are written for `trunkline.serve`.

    ::

        async def handler(connection):
            async for message in connection:
                await connection.send(message)

        @app.websocket("/echo")
        async def echo(websocket: WebSocket):
            async with trunkline.asgi.connection(websocket) as connection:
                await handler(connection)

    `async with` accepts the connection, unless that is done, and closes it with code 1000, or 1011 after an exception.
    Without it, the first call that receives or sends accepts it.

    Args:
        websocket: the `WebSocket` that Starlette, FastAPI and frameworks like them give to an endpoint.

    Returns:
        The `Connection` itself, if it is accepted and the server uses `trunkline.uvicorn.WebSocketProtocol`. Elsewhere
        an `ASGIWebSocket`, the same one for each call.
    """
    native = native_connection(websocket.scope)
    accepted = websocket.application_state.name != "CONNECTING"
    if isinstance(native, ASGIWebSocket) or (native is not None and native.stage is Stage.ACCEPTED):
        return native
    made = ASGIWebSocket(
        websocket.scope, websocket.receive, websocket.send, accept=None if accepted else websocket.accept
    )
    if native is None:
        websocket.scope.setdefault("extensions", {})[EXTENSION] = {"connection": made}
    return made
