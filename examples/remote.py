"""Remote control: pages press the buttons of a device, and see what it does. `device.py` is one: a lamp."""

from typing import Any
from urllib.parse import unquote

import msgspec
from website import run

from trunkline import ServerConnection
from trunkline.realtime import Client, Realtime, Refused
from trunkline.realtime.codes import NOT_AVAILABLE

states: dict[str, Any] = {}

rt = Realtime()


@rt.channel("device:{name}", presence=True, join_leave=True, publish="subscribers")
def device(client: Client, name: str) -> dict[str, Any]:
    """A new subscriber gets the state of the device, and from then on each change of it."""
    return {"state": states.get(name)}


@device.from_plain
def state(message: str | bytes) -> dict[str, Any]:
    """A device sends its state, as JSON. It has no need to know of channels."""
    return {"state": msgspec.json.decode(message)}


@device.on_publish
def keep(client: Client, message: dict[str, Any], name: str) -> None:
    """Pages press buttons, and only the device itself says what its state is."""
    if client.user != f"device {name}":
        raise Refused()
    states[name] = message["state"]


class Press(msgspec.Struct):
    """A button of a device."""

    device: str
    button: str


@rt.rpc("press")
async def press(client: Client, what: Press) -> None:
    """Press a button. The caller learns whether a device is there to feel it."""
    channel = f"device:{what.device}"
    there = {info.user for info in (await rt.presence(channel)).values()}
    if f"device {what.device}" not in there:
        raise Refused(NOT_AVAILABLE, f"the {what.device} is not connected")
    await rt.publish(channel, {"button": what.button})


async def handler(connection: ServerConnection) -> None:
    """Devices come to /devices/NAME, pages to anywhere else."""
    assert connection.request is not None
    path = unquote(connection.request.path)
    if path.startswith("/devices/"):
        name = path.removeprefix("/devices/")
        await rt.plain(connection, f"device:{name}", user=f"device {name}")
    else:
        await rt.handler(connection)


if __name__ == "__main__":
    run(rt, "remote.html", handler=handler)
