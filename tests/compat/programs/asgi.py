"""An ASGI application, for uvicorn: chats with each client according to the path."""

from __future__ import annotations

from typing import Any


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    assert (await receive())["type"] == "websocket.connect"
    if scope["path"] == "/forbidden":
        await send({"type": "websocket.close"})
        return
    subprotocol = scope["subprotocols"][0] if scope["subprotocols"] else None
    await send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": [(b"x-app", b"asgi")]})
    query = scope["query_string"].decode()
    await send(
        {"type": "websocket.send", "text": f"{scope['path']}?{query} {dict(scope['headers'])[b'x-name'].decode()}"}
    )
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            print("disconnected", event["code"], event.get("reason"), flush=True)
            return
        text = event.get("text")
        if text == "library":
            import websockets

            text = websockets.connect.__module__
        if text == "bye":
            await send({"type": "websocket.close", "code": 4001, "reason": "as you like"})
            return
        await send({"type": "websocket.send", "text": text, "bytes": event.get("bytes")})
