"""A realtime server set up as docker-compose.yml of centrifuge-python sets up Centrifugo. Usage: centrifugo.py PORT.

It prints a line when it listens. `app` is the same for ASGI servers.
"""

from __future__ import annotations

import asyncio
import sys
import warnings

from jwt.warnings import InsecureKeyLengthWarning

from trunkline.realtime import Client, Realtime
from trunkline.realtime.tokens import Key, Tokens

warnings.simplefilter("ignore", InsecureKeyLengthWarning)  # the secret of that suite is a word

rt = Realtime(tokens=Tokens(Key("HS256", "secret")))
rt.channel("smallhistory:{name}", history=2, publish="subscribers")
rt.channel("#{user}", history=100, publish="subscribers", presence=True, join_leave=True, subscribe="nobody")
rt.channel("{name}", history=100, publish="subscribers", presence=True, join_leave=True)


@rt.on_connect
def subscribe_to_personal_channel(client: Client) -> None:
    client.channels = [f"#{client.user}"]


async def main(port: int) -> None:
    async with rt, rt.serve("localhost", port) as server:
        print("listening", flush=True)
        await server.serve_forever()


app = rt.asgi()

if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
