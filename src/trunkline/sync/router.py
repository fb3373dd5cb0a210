"""Servers with a handler for each path, found by Werkzeug; install it with `pip install 'trunkline[router]'`."""

from __future__ import annotations

import ssl as ssl_module
from typing import Any, Literal

from trunkline.endpoint.router import BaseRouter, Map, make_router
from trunkline.endpoint.server import run_now
from trunkline.sync.server import ProcessRequest, Server, serve
from trunkline.typing import PathLike

__all__ = ["Router", "route", "unix_route"]


class Router(BaseRouter):
    __doc__ = BaseRouter.__doc__


def route(
    url_map: Map,
    *args: Any,
    server_name: str | None = None,
    ssl: ssl_module.SSLContext | Literal[True] | None = None,
    create_router: type[Router] | None = None,
    **kwargs: Any,
) -> Server:
    """Create a WebSocket server with a handler for each path.

    ::

        from werkzeug.routing import Map, Rule

        def channel(websocket, channel_id): ...

        with route(Map([Rule("/channel/<int:channel_id>", endpoint=channel)]), "localhost", 8765) as server:
            server.serve_forever()

    A path without a rule is answered with status 404. `process_request`, if given, sees each request first.

    Args:
        url_map: Werkzeug's rules, with handlers as endpoints.
        args: host and port, as for `serve`.
        server_name: host, with its port, for redirects and for rules with a host; by default that of the request.
        ssl: TLS configuration; True if a proxy before the server does TLS, so that redirects lead to `wss://`.
        create_router: subclass of `Router` to use.
        kwargs: as for `serve`.
    """
    router = make_router(create_router or Router, url_map, server_name, ssl, kwargs)
    hook: ProcessRequest = lambda connection, request: run_now(router.process_request(connection, request))  # noqa: E731
    return serve(router.handler, *args, process_request=hook, **kwargs)


def unix_route(url_map: Map, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Create a WebSocket server on a Unix socket, with a handler for each path; see `route`."""
    return route(url_map, unix=True, path=path, **kwargs)
