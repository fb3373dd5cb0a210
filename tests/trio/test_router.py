"""A handler for each path, on trio."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import trio
import websockets.trio.router
from werkzeug.routing import Map, Rule

from tests.trio.support import connecting, run
from trunkline.exceptions import InvalidStatus
from trunkline.trio.router import Router, route
from trunkline.trio.server import ServerConnection


async def channel(ws: ServerConnection, number: int) -> None:
    await ws.send(f"channel {number}")


async def root(ws: ServerConnection) -> None:
    await ws.send("root")


ROUTES = Map([Rule("/channel/<int:number>", endpoint=channel), Rule("/", endpoint=root), Rule("/dir/", endpoint=root)])


def test_parameters_are_those_of_websockets() -> None:
    theirs = inspect.signature(websockets.trio.router.route).parameters
    ours = inspect.signature(route).parameters
    for parameter in theirs.values():
        assert (ours[parameter.name].kind, ours[parameter.name].default) == (parameter.kind, parameter.default)
    for name in ("get_server_name", "redirect", "not_found", "route_request", "handler"):
        assert hasattr(Router, name)


@pytest.mark.parametrize("hooked", [False, True])
def test_routes(hooked: bool) -> None:
    async def process_request(ws: ServerConnection, request: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return ws.respond(403, "closed\n") if request.path == "/channel/5" else None

    async def main() -> None:
        async with trio.open_nursery() as nursery:

            async def serve(task_status: Any) -> None:
                hooks = {"process_request": process_request} if hooked else {}
                await route(ROUTES, 0, host="127.0.0.1", task_status=task_status, **hooks)

            server = await nursery.start(serve)
            for path, message in (("/channel/7", "channel 7"), ("/", "root"), ("/dir", "root")):
                async with connecting(server, path) as ws:
                    assert await ws.recv() == message
            for path, status in (("/nowhere", 404), ("/channel/5", 403)):
                if status == 404 or hooked:
                    with pytest.raises(InvalidStatus) as caught:
                        await connecting(server, path).connect(nursery)
                    assert caught.value.response.status_code == status
            await server.aclose()

    run(main)
