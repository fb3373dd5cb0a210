"""ocpp: a charging station that boots and sends heartbeats, and the central system that it talks to."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import websockets
from ocpp.routing import on
from ocpp.v16 import ChargePoint, call, call_result
from ocpp.v16.enums import Action, RegistrationStatus

TIME = "2026-01-01T00:00:00Z"


class CentralSystem(ChargePoint):
    @on(Action.boot_notification)
    def boot(self, charge_point_vendor: str, charge_point_model: str, **rest: Any) -> call_result.BootNotification:
        print("boot", self.id, charge_point_vendor, charge_point_model)
        return call_result.BootNotification(TIME, 10, RegistrationStatus.accepted)

    @on(Action.heartbeat)
    def heartbeat(self) -> call_result.Heartbeat:
        return call_result.Heartbeat(TIME)


async def accept(ws: websockets.ServerConnection) -> None:
    assert ws.request is not None
    await CentralSystem(ws.request.path.strip("/"), ws).start()


async def main() -> None:
    protocols = [websockets.Subprotocol("ocpp1.6")]
    async with websockets.serve(accept, "127.0.0.1", 0, subprotocols=protocols) as server:
        port = server.sockets[0].getsockname()[1]
        async with websockets.connect(f"ws://127.0.0.1:{port}/station-1", subprotocols=protocols) as ws:
            station = ChargePoint("station-1", ws)
            receiving = asyncio.create_task(station.start())
            print(await station.call(call.BootNotification("Model T", "Ford")))
            print(await station.call(call.Heartbeat()))
        try:
            await receiving
        except websockets.ConnectionClosedOK as closed:
            print(closed)


# ocpp logs only when told to
asyncio.run(main())
print(websockets.connect.__module__, file=sys.stderr)
