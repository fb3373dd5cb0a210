"""The room that the servers with python-socketio share."""

from typing import Any

import socketio


def create(mode: str) -> Any:
    """A server of python-socketio that puts all clients into one room and emits there what a client says."""
    server = socketio.AsyncServer(async_mode=mode, ping_interval=3600)  # the load generators answer none

    @server.event
    async def connect(sid: str, environ: object, auth: object) -> None:
        await server.enter_room(sid, "room")

    @server.event
    async def say(sid: str, data: str) -> None:
        await server.emit("say", data, room="room")

    return server
