"""simpleobsws: identify oneself to OBS Studio, and send it a request, in MessagePack."""

from __future__ import annotations

import asyncio
import sys

import msgpack
import simpleobsws
import websockets

HELLO, IDENTIFY, IDENTIFIED, REQUEST, RESPONSE = 0, 1, 2, 6, 7


async def serve_obs(ws: websockets.ServerConnection) -> None:
    await ws.send(msgpack.packb({"op": HELLO, "d": {"obsWebSocketVersion": "5.0.0", "rpcVersion": 1}}))
    async for message in ws:
        assert isinstance(message, bytes)
        request = msgpack.unpackb(message)
        data = request["d"]
        if request["op"] == IDENTIFY:
            await ws.send(msgpack.packb({"op": IDENTIFIED, "d": {"negotiatedRpcVersion": 1}}))
        elif request["op"] == REQUEST:
            answer = {
                "requestType": data["requestType"],
                "requestId": data["requestId"],
                "requestStatus": {"result": True, "code": 100},
                "responseData": {"outputActive": False, "asked": data.get("requestData")},
            }
            await ws.send(msgpack.packb({"op": RESPONSE, "d": answer}))


async def main() -> None:
    protocols = [websockets.Subprotocol("obswebsocket.msgpack")]
    async with websockets.serve(serve_obs, "127.0.0.1", 0, subprotocols=protocols) as server:
        port = server.sockets[0].getsockname()[1]
        client = simpleobsws.WebSocketClient(url=f"ws://127.0.0.1:{port}")
        await client.connect()
        print(await client.wait_until_identified())
        response = await client.call(simpleobsws.Request("GetRecordStatus", {"scene": "Küche"}))
        print(response.ok(), response.responseData)
        await client.disconnect()


asyncio.run(main())
print(websockets.connect.__module__, file=sys.stderr)
