"""Servers with a handler for each path, found by Werkzeug; install it with `pip install 'trunkline[router]'`."""

from __future__ import annotations

import http
import inspect
import ssl as ssl_module
import urllib.parse
from typing import TYPE_CHECKING, Any, Literal

from trunkline.asyncio.server import ProcessRequest, Server, ServerConnection, serve
from trunkline.http11 import Request, Response

if TYPE_CHECKING:
    from werkzeug.routing import Map

    from trunkline.typing import PathLike

__all__ = ["Router", "route", "unix_route"]


class Router:
    """Finds the handler for a request; derive from it to change how.

    Args:
        url_map: rules whose endpoints are handlers. They needn't say `websocket=True`.
        server_name: host, with its port, for redirects and for rules with a host; by default that of the request.
        url_scheme: "ws" or "wss", for redirects.
    """

    def __init__(self, url_map: Map, server_name: str | None = None, url_scheme: str = "ws") -> None:
        self.url_map = url_map
        self.server_name = server_name
        self.url_scheme = url_scheme
        for rule in url_map.iter_rules():
            rule.websocket = True

    def get_server_name(self, connection: ServerConnection, request: Request) -> str:
        """The name by which the client knows the server.

        Raises:
            LookupError: if the request doesn't have one Host header.
        """
        return request.headers["Host"] if self.server_name is None else self.server_name

    def redirect(self, connection: ServerConnection, url: str) -> Response:
        """The response for a path that is found elsewhere."""
        response = connection.respond(http.HTTPStatus.FOUND, f"Found at {url}")
        response.headers["Location"] = url
        return response

    def not_found(self, connection: ServerConnection) -> Response:
        """The response for a path without a handler."""
        return connection.respond(http.HTTPStatus.NOT_FOUND, "Not Found")

    def route_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """A `process_request`: remember the handler, or refuse the connection."""
        # Not earlier: who has a Map has Werkzeug, but others import this module, too.
        from werkzeug.exceptions import HTTPException, NotFound
        from werkzeug.routing import RequestRedirect

        try:
            server_name = self.get_server_name(connection, request)
        except LookupError:
            return None  # the handshake refuses such a request, and says why
        target = urllib.parse.urlsplit(request.path)
        try:
            adapter = self.url_map.bind(server_name=server_name, url_scheme=self.url_scheme)
            handler, parameters = adapter.match(path_info=target.path, query_args=target.query)
        except RequestRedirect as redirect:
            return self.redirect(connection, redirect.new_url)
        except NotFound:
            return self.not_found(connection)
        except HTTPException as error:  # such as a Host header that isn't a host
            return connection.respond(error.code or http.HTTPStatus.BAD_REQUEST, f"{error.description}\n")
        routed: Any = connection
        routed.handler, routed.handler_kwargs = handler, parameters
        return None

    async def handler(self, connection: ServerConnection) -> None:
        """Call the handler that was found, with the parameters in the path, still percent-encoded, by keyword."""
        routed: Any = connection
        await routed.handler(connection, **routed.handler_kwargs)


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

        async def channel(websocket, channel_id): ...

        async with route(Map([Rule("/channel/<int:channel_id>", endpoint=channel)]), "localhost", 8765) as server:
            await server.serve_forever()

    A path without a rule is answered with status 404. `process_request`, if given, sees each request first.

    Args:
        url_map: Werkzeug's rules, with handlers as endpoints.
        args: host and port, as for `serve`.
        server_name: host, with its port, for redirects and for rules with a host; by default that of the request.
        ssl: TLS configuration; True if a proxy before the server does TLS, so that redirects lead to `wss://`.
        create_router: subclass of `Router` to use.
        kwargs: as for `serve`.
    """
    if ssl is not None and ssl is not True:
        kwargs["ssl"] = ssl
    router = (create_router or Router)(url_map, server_name, "ws" if ssl is None else "wss")
    first: ProcessRequest | None = kwargs.pop("process_request", None)

    async def process_request(connection: ServerConnection, request: Request) -> Response | None:
        response = None if first is None else first(connection, request)
        if inspect.isawaitable(response):
            response = await response
        return router.route_request(connection, request) if response is None else response

    return serve(router.handler, *args, process_request=process_request, **kwargs)


def unix_route(url_map: Map, path: PathLike | None = None, **kwargs: Any) -> Server:
    """Create a WebSocket server on a Unix socket, with a handler for each path; see `route`."""
    return route(url_map, unix=True, path=path, **kwargs)
