"""The client for browsers, trunkline.js, and how to serve it."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files

from trunkline.asyncio.server import ServerConnection
from trunkline.datastructures import Headers
from trunkline.handshake.hooks import for_pages
from trunkline.http11 import Request, Response

__all__ = ["PATH", "SOURCE", "trunkline_js"]

PATH = "/trunkline.js"
SOURCE = (files("trunkline.realtime") / "js" / "trunkline.js").read_bytes()

SOURCE_HEADERS = {
    "Content-Type": "text/javascript; charset=utf-8",
    "Cache-Control": "no-cache",
    "Access-Control-Allow-Origin": "*",  # pages of other origins may import it: it holds no secret
    "X-Content-Type-Options": "nosniff",
}


@for_pages
def trunkline_js(connection: ServerConnection, request: Request) -> Response | None:
    """Answer `GET /trunkline.js` with the client for browsers, and leave all else to others.

    `Realtime.serve` does that by itself. Give it to `serve` as `process_request`, or call it from your own::

        def process_request(connection, request):
            return trunkline_js(connection, request) or my_page(connection, request)
    """
    if request.path.partition("?")[0] != PATH or request.method not in ("GET", "HEAD") or "Upgrade" in request.headers:
        return None
    headers = Headers(SOURCE_HEADERS, Connection="close")
    headers["Content-Length"] = str(len(SOURCE))
    return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, headers, SOURCE)
