"""gql: a query and a subscription over the protocol graphql-transport-ws."""

from __future__ import annotations

import asyncio
import json
import sys

import websockets
from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport


async def serve_graphql(ws: websockets.ServerConnection) -> None:
    async for message in ws:
        request = json.loads(message)
        match request["type"]:
            case "connection_init":
                await ws.send(json.dumps({"type": "connection_ack"}))
            case "subscribe" if "subscription" in request["payload"]["query"]:
                for number in range(3):
                    await ws.send(json.dumps({"id": request["id"], "type": "next", "payload": {"data": {"n": number}}}))
                await ws.send(json.dumps({"id": request["id"], "type": "complete"}))
            case "subscribe":
                await ws.send(
                    json.dumps({"id": request["id"], "type": "next", "payload": {"data": {"hello": "wörld"}}})
                )
                await ws.send(json.dumps({"id": request["id"], "type": "complete"}))


async def main() -> None:
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    async with websockets.serve(serve_graphql, "127.0.0.1", 0, subprotocols=protocols) as server:
        port = server.sockets[0].getsockname()[1]
        transport = WebsocketsTransport(f"ws://127.0.0.1:{port}/graphql", headers={"X-Name": "Ada"})
        async with Client(transport=transport) as session:
            print(await session.execute(gql("{ hello }")))
            async for result in session.subscribe(gql("subscription { n }")):
                print(result)


asyncio.run(main())
print(websockets.connect.__module__, file=sys.stderr)
