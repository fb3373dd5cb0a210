"""A lamp for `remote.py`, on plain WebSockets: it gets buttons, and says what that made of it.

python examples/device.py ws://localhost:8765/devices/lamp
"""

import asyncio
import contextlib
import sys
from typing import Any

from trunkline import ConnectionClosed, connect

STEPS = {"brighter": 10, "darker": -10}


def press(state: dict[str, Any], button: str) -> None:
    """Change the state as the button does."""
    if button == "power":
        state["on"] = not state["on"]
    else:
        state["brightness"] = min(100, max(10, state["brightness"] + STEPS.get(button, 0)))


async def lamp(uri: str) -> None:
    """Stay connected, whatever happens to the network or the server."""
    state = {"on": False, "brightness": 50}
    async for ws in connect(uri):
        with contextlib.suppress(ConnectionClosed):
            while True:
                print(state, flush=True)
                await ws.send_json(state)
                message = await ws.recv_json()
                while "button" not in message:  # its own state, say
                    message = await ws.recv_json()
                press(state, message["button"])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(lamp(sys.argv[1] if len(sys.argv) > 1 else "ws://localhost:8765/devices/lamp"))
