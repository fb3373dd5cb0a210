"""Which handler serves which path, found by Werkzeug; install it with `pip install 'trunkline[router]'`."""

from __future__ import annotations

import http
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trunkline.endpoint.server import settle
from trunkline.http11 import Request, Response

if TYPE_CHECKING:
    from werkzeug.routing import Map as Map
else:
    try:
        from werkzeug.routing import Map
    except ImportError:  # then nothing makes one, but annotations still say something
        Map = Any

__all__ = ["BaseRouter"]


class BaseRouter:
    """Finds the handler for a request; derive from it to change how.

    Args:
        url_map: rules whose endpoints are handlers. They needn't say `websocket=True`.
        server_name: host, with its port, for redirects and for rules with a host; by default that of the request.
        url_scheme: "ws" or "wss", for redirects.
    """

    #: What `route` was given as `process_request`: it sees each request first.
    first: Callable[[Any, Request], Any] | None = None

    def __init__(self, url_map: Map, server_name: str | None = None, url_scheme: str = "ws") -> None:
        self.url_map = url_map
        self.server_name = server_name
        self.url_scheme = url_scheme
        for rule in url_map.iter_rules():
            rule.websocket = True

    def get_server_name(self, connection: Any, request: Request) -> str:
        """The name by which the client knows the server.

        Raises:
            LookupError: if the request doesn't have one Host header.
        """
        return request.headers["Host"] if self.server_name is None else self.server_name

    def redirect(self, connection: Any, url: str) -> Response:
        """The response for a path that is found elsewhere."""
        response: Response = connection.respond(http.HTTPStatus.FOUND, f"Found at {url}")
        response.headers["Location"] = url
        return response

    def not_found(self, connection: Any) -> Response:
        """The response for a path without a handler."""
        response: Response = connection.respond(http.HTTPStatus.NOT_FOUND, "Not Found")
        return response

    def route_request(self, connection: Any, request: Request) -> Response | None:
        """A `process_request`: remember the handler, or refuse the connection."""
        # Not earlier: who has a Map has Werkzeug, but others import this module, too.
        from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
        from werkzeug.routing import RequestRedirect

        try:
            server_name = self.get_server_name(connection, request)
        except LookupError:
            return None  # the handshake refuses such a request, and says why
        path, _, query = request.path.partition("?")
        try:
            adapter = self.url_map.bind(server_name=server_name, url_scheme=self.url_scheme)
            handler, parameters = adapter.match(path_info=path, query_args=query)
        except RequestRedirect as redirect:
            return self.redirect(connection, redirect.new_url)
        except NotFound:
            return self.not_found(connection)
        except HTTPException as error:  # such as a Host header that isn't a host
            response: Response = connection.respond(error.code or http.HTTPStatus.BAD_REQUEST, f"{error.description}\n")
            if isinstance(error, MethodNotAllowed):  # RFC 9110 section 15.5.6
                response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
            return response
        connection.handler, connection.handler_kwargs = handler, parameters
        return None

    async def process_request(self, connection: Any, request: Request) -> Response | None:
        """`route_request`, after what the caller of `route` wants to see each request first."""
        response: Response | None = None if self.first is None else await settle(self.first(connection, request))
        return self.route_request(connection, request) if response is None else response

    def handler(self, connection: Any) -> Any:
        """Call the handler that was found, with the parameters in the path, still percent-encoded, by keyword."""
        return connection.handler(connection, **connection.handler_kwargs)


def make_router(
    kind: Callable[[Map, str | None, str], BaseRouter],
    url_map: Map,
    server_name: str | None,
    ssl: object,
    kwargs: dict[str, Any],
) -> BaseRouter:
    """The router of a server, and in `kwargs` what `serve` is to be told.

    `ssl=True` says that a proxy before the server does TLS: redirects lead to `wss://`, the server itself has none.
    """
    router = kind(url_map, server_name, "ws" if ssl is None else "wss")
    router.first = kwargs.pop("process_request", None)
    if ssl is not None and ssl is not True:
        kwargs["ssl"] = ssl
    return router
