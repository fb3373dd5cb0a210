"""A realtime server as the scenarios of tests/interop/node/realtime expect it. Usage: realtime.py PORT DIRECTORY.

It prints its address. Under /tests/ it serves the files of the directory, and at /token?user=&ttl=&channel= tokens.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from trunkline.datastructures import Headers
from trunkline.http11 import Request, Response
from trunkline.realtime import Realtime, Refused, Timeouts, trunkline_js
from trunkline.realtime.tokens import Key, Tokens

tokens = Tokens(Key("HS256", "a secret that nobody knows but the tests"))
rt = Realtime(tokens=tokens, timeouts=Timeouts(ping=1))

TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".mjs": "text/javascript"}


class Who(msgspec.Struct):
    """The data with which a client connects."""

    user: str = "guest"
    channels: list[str] = []


class Text(msgspec.Struct):
    """A publication in a room."""

    text: str


class Order(msgspec.Struct):
    """The argument of calls in which a client asks the server to act on that client."""

    channel: str = ""
    channels: list[str] = []
    code: int = 0
    reason: str | None = None
    publish: int = 0


@rt.on_connect
def connect(client: Any, who: Who | None) -> dict[str, str]:
    if client.token:
        return {"hello": client.user}
    who = who or Who()
    if who.user == "nobody":
        raise Refused(101)
    client.user = who.user
    client.channels = who.channels
    return {"hello": who.user}


@rt.on_message
async def message(client: Any, data: Any) -> None:
    await rt.send({"heard": data}, client=client.id)


room = rt.channel("room:{name}", history=100, presence=True, join_leave=True, publish="anyone")


@room.on_publish
def check(client: Any, data: Text) -> None:
    """The type says it all."""


rt.channel("short:{name}", history=2, publish="subscribers")
rt.channel("private:{name}", subscribe="token")
rt.channel("cache:{name}", history=1, recover="cache", publish="subscribers")
rt.channel("plain:{name}", publish="subscribers")


@rt.channel("secret:{name}")
def secret(client: Any) -> None:
    raise Refused(103)


@rt.rpc("echo")
async def echo(client: Any, data: Any) -> Any:
    return data


@rt.rpc("whoami")
async def whoami(client: Any) -> dict[str, str]:
    return {"user": client.user}


@rt.rpc("fail")
async def fail(client: Any, order: Order) -> None:
    raise Refused(order.code, "as you wish")


@rt.rpc("crash")
async def crash(client: Any) -> None:
    raise ValueError("this procedure is broken")


@rt.rpc("kick")
async def kick(client: Any, order: Order) -> None:
    """Disconnect the client that asks, and publish while it is away."""
    client.disconnect(order.code, order.reason)
    for number in range(order.publish):
        for channel in order.channels or [order.channel]:
            await rt.publish(channel, {"text": f"missed {number}"})


@rt.rpc("subscribe")
async def subscribe(client: Any, order: Order) -> None:
    await rt.subscribe(order.channel, client=client.id)


@rt.rpc("unsubscribe")
async def unsubscribe(client: Any, order: Order) -> None:
    if order.code == 2000:
        await rt.unsubscribe(order.channel, client=client.id)
    else:
        rt._hub.on_gap(order.channel)  # as the broker does where publications may be lost: 2500


def token(query: dict[str, str]) -> str:
    user, ttl = query["user"], float(query["ttl"])
    if "channel" in query:
        return tokens.subscription(user, query["channel"], ttl=ttl)
    return tokens.connection(user, ttl=ttl)


def process_request(connection: Any, request: Request) -> Response | None:
    path = request.path.partition("?")[0]
    if path.startswith("/connection/"):
        return None
    if path == "/token":
        return page(".html", token(dict(parse_qsl(urlsplit(request.path).query))).encode())
    if client := trunkline_js(connection, request):
        return client
    file = Path(sys.argv[2]) / path.removeprefix("/tests/")
    return page(file.suffix, file.read_bytes()) if file.is_file() else page(".html", b"", 404)


def page(suffix: str, body: bytes, status: int = 200) -> Response:
    headers = {"Content-Type": TYPES[suffix], "Content-Length": str(len(body)), "Connection": "close"}
    return Response(status, "", Headers(headers), body)


async def main(port: int) -> None:
    async with rt.serve("127.0.0.1", port, process_request=process_request) as server:
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
