"""Back-pressure: commands and publishers wait until clients have read."""

from __future__ import annotations

import asyncio

from trunkline.realtime.hub.bell import Bell
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.hub.room import Room

__all__ = ["must_wait", "wait_read", "wait_writable"]


async def wait_read(client: Client) -> None:
    """Wait until a client has read the answers to its commands, or is gone.

    A client that says more commands than it reads answers slows itself down, and no memory grows.
    """
    while client.outbox is not None and client.outbox.answers:
        if client.caught_up is None:
            client.caught_up = Bell()
        await _heard(client.caught_up)


async def wait_writable(hub: Hub, name: str, publisher: Client | None = None) -> None:
    """Wait until no queue in a channel that makes publishers wait is full, but that of the publisher itself.

    It may read only when it has said all that it wants to say.
    """
    room = hub.rooms.get(name)
    while room is not None and _is_full(room, publisher):
        if room.writable is None:
            room.writable = Bell()
        await _heard(room.writable)


def must_wait(hub: Hub, name: str, publisher: Client | None = None) -> bool:
    """Whether `wait_writable` would wait."""
    room = hub.rooms.get(name)
    return room is not None and _is_full(room, publisher)


def _is_full(room: Room, publisher: Client | None) -> bool:
    return bool(room.full) and bool(room.full - {publisher})


async def _heard(bell: Bell) -> None:
    ringing = asyncio.get_running_loop().create_future()

    def ring() -> None:
        if not ringing.done():
            ringing.set_result(None)

    bell.listen(ring)
    try:
        await ringing
    finally:
        bell.ignore(ring)
