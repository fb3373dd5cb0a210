"""The common part of the examples: a server with a page at /, trunkline.js beside it, and a `Realtime`."""

import asyncio
import contextlib
import sys
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any

from trunkline import Request, Response, Server, ServerConnection, serve
from trunkline.realtime import Realtime, select_subprotocol, trunkline_js

PAGES = Path(__file__).parent / "pages"


def site(page: str) -> Callable[[ServerConnection, Request], Response | None]:
    """Answer plain HTTP requests with a page, and leave the others to the handler."""
    resources = {"/": (page, "text/html"), "/style.css": ("style.css", "text/css")}

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        if "Upgrade" in request.headers:
            return None
        if request.path not in resources:
            return trunkline_js(connection, request) or connection.respond(HTTPStatus.NOT_FOUND, "The page is at /\n")
        file, content_type = resources[request.path]
        response = connection.respond(HTTPStatus.OK, (PAGES / file).read_text(encoding="utf-8"))
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = f"{content_type}; charset=utf-8"
        return response

    return answer


def run(rt: Realtime, page: str, *, handler: Any = None, background: Any = None) -> None:
    """Serve until Ctrl-C, on the port that the command line names.

    Args:
        rt: the channels.
        page: file in `pages`.
        handler: serves the WebSockets, if not all of them are clients of `rt`.
        background: coroutine function that runs meanwhile.
    """
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8765

    async def main() -> None:
        server: Server
        options: dict[str, Any] = {"process_request": site(page), "select_subprotocol": select_subprotocol}
        async with (
            rt,
            serve(handler or rt.handler, "localhost", port, **options) as server,
            asyncio.TaskGroup() as tasks,
        ):
            if background is not None:
                tasks.create_task(background())
            print(f"http://localhost:{server.sockets[0].getsockname()[1]}", flush=True)
            await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
