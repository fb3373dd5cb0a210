"""trunkline on trio."""

import argparse
import contextlib
import os
import sys
from typing import Any
from urllib.parse import urlencode

import trio

from compliance.peers.harness import CASE_SECONDS
from compliance.peers.websockets_api import OPTIONS, offers
from trunkline import ConnectionClosed
from trunkline.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from trunkline.trio.client import connect
from trunkline.trio.server import serve

CLIENT_OPTIONS = OPTIONS | {"extensions": offers(ClientPerMessageDeflateFactory)}


async def echo_messages(connection: Any) -> None:
    async for message in connection:
        await connection.send(message)


async def be_server() -> None:
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")

        async def run(task_status: Any) -> None:
            await serve(echo_messages, listeners=listeners, task_status=task_status, **OPTIONS)

        await nursery.start(run)
        print("listening", listeners[0].socket.getsockname()[1], flush=True)
        await trio.lowlevel.wait_readable(sys.stdin.fileno())
        os._exit(0)  # a server that is no longer wanted needs no closing handshakes


async def echo(url: str) -> None:
    # The fuzzing server judges which side closed the connection, and how.
    async with connect(url, **CLIENT_OPTIONS) as connection:
        with contextlib.suppress(ConnectionClosed):
            await echo_messages(connection)


async def be_client(url: str) -> None:
    """The dialogue of Autobahn|Testsuite: how many cases, each of them, and the end."""
    async with connect(f"{url}/getCaseCount", **CLIENT_OPTIONS) as connection:
        count = int(await connection.recv())
    for case in range(1, count + 1):
        with trio.move_on_after(CASE_SECONDS) as patience:
            await echo(f"{url}/runCase?{urlencode({'case': case, 'agent': 'peer'})}")
        if patience.cancelled_caught:
            print(f"case {case} did not end in {CASE_SECONDS} s", file=sys.stderr)
    await echo(f"{url}/updateReports?{urlencode({'agent': 'peer'})}")


parser = argparse.ArgumentParser()
parser.add_argument("role", choices=("server", "client"))
parser.add_argument("--url", help="of the fuzzing server, for a client")
arguments = parser.parse_args()
trio.run(*((be_server,) if arguments.role == "server" else (be_client, arguments.url)))
