"""centrifuge-python: subscribe to a channel and publish into it."""

from __future__ import annotations

import asyncio
import json
import sys

import websockets
from centrifuge import Client, PublicationContext, SubscribedContext, SubscriptionEventHandler


async def serve_centrifuge(ws: websockets.ServerConnection) -> None:
    """As much of the protocol of Centrifugo as this needs: replies to commands, then publications."""
    async for message in ws:
        assert isinstance(message, str)
        for line in message.splitlines():
            command = json.loads(line)
            reply = {"id": command.get("id")}
            if "connect" in command:
                await ws.send(
                    json.dumps(reply | {"connect": {"client": "1", "version": "0", "ping": 25, "pong": True}})
                )
            elif "subscribe" in command:
                await ws.send(json.dumps(reply | {"subscribe": {}}))
            elif "publish" in command:
                await ws.send(json.dumps(reply | {"publish": {}}))
                publication = {"channel": command["publish"]["channel"], "pub": {"data": command["publish"]["data"]}}
                await ws.send(json.dumps({"push": publication}))


class Handler(SubscriptionEventHandler):
    def __init__(self) -> None:
        self.publications: asyncio.Queue[object] = asyncio.Queue()

    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        print("subscribed", ctx.channel)

    async def on_publication(self, ctx: PublicationContext) -> None:
        await self.publications.put(ctx.pub.data)


async def main() -> None:
    async with websockets.serve(serve_centrifuge, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = Client(f"ws://127.0.0.1:{port}/connection/websocket")
        await client.connect()
        await client.ready()
        handler = Handler()
        subscription = client.new_subscription("news", handler)
        await subscription.subscribe()
        await subscription.ready()
        for text in ("hello", "grüße"):
            await subscription.publish(data={"text": text})
            print(await handler.publications.get())
        await client.disconnect()
        print(client.state)


asyncio.run(main())
print(websockets.connect.__module__, file=sys.stderr)
