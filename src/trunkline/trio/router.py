"""Servers with a handler for each path, found by Werkzeug; install it with `pip install 'trunkline[router]'`."""

from __future__ import annotations

import ssl as ssl_module
from typing import Any, Literal

import trio

from trunkline.endpoint.router import BaseRouter, Map, make_router
from trunkline.trio.server import Server, serve

__all__ = ["Router", "route"]


class Router(BaseRouter):
    __doc__ = BaseRouter.__doc__


async def route(
    url_map: Map,
    *args: Any,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: type[Router] | None = None,
    task_status: trio.TaskStatus[Server] = trio.TASK_STATUS_IGNORED,
    **kwargs: Any,
) -> None:
    """Run a WebSocket server with a handler for each path.

    ::

        from werkzeug.routing import Map, Rule

        async def channel(websocket, channel_id): ...

        async with trio.open_nursery() as nursery:
            await nursery.start(route, Map([Rule("/channel/<int:channel_id>", endpoint=channel)]), 8765)

    A path without a rule is answered with status 404. `process_request`, if given, sees each request first.

    Args:
        url_map: Werkzeug's rules, with handlers as endpoints.
        args: the port, as for `serve`.
        server_name: host, with its port, for redirects and for rules with a host; by default that of the request.
        ssl: TLS configuration; True if a proxy before the server does TLS, so that redirects lead to `wss://`.
        create_router: subclass of `Router` to use.
        task_status: for `nursery.start`, which returns the `Server`.
        kwargs: as for `serve`.
    """
    router = make_router(create_router or Router, url_map, server_name, ssl, kwargs)
    await serve(router.handler, *args, process_request=router.process_request, task_status=task_status, **kwargs)
