"""The door for ASGI servers: clients of rooms inside of FastAPI, Starlette, Django and other frameworks."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from trunkline.asgi.websocket import ASGIWebSocket, native_connection
from trunkline.datastructures import Headers
from trunkline.exceptions import InvalidHandshake
from trunkline.frames import CloseCode
from trunkline.handshake.negotiation import ServerNegotiation
from trunkline.realtime.doors.browser import PATH, SOURCE, SOURCE_HEADERS
from trunkline.realtime.doors.websocket import WebSocketDoor, WebSocketPeer
from trunkline.realtime.peer import Backlog
from trunkline.realtime.program.dependencies import dependent
from trunkline.realtime.program.hooks import parameters_of
from trunkline.realtime.program.pace import Pace
from trunkline.realtime.running import Running
from trunkline.realtime.wire.codecs import select_subprotocol
from trunkline.typing import Origin

__all__ = ["ASGIApplication", "ASGIPeer", "Authenticate"]

logger = logging.getLogger("trunkline.realtime")

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Origins = Sequence[Origin | re.Pattern[str] | None] | Literal["*"] | None
Authenticate = Callable[..., Awaitable[Any]]

NEEDS_STARLETTE = "authenticate= and mount() need Starlette: pip install starlette"


class ASGIPeer(WebSocketPeer):
    """A connection of another ASGI server as rooms see it."""

    def gather_for(self, pace: Pace) -> None:
        """Messages leave one by one: the server alone knows when more follow."""

    def backlog(self) -> Backlog:
        connection: Any = self.connection
        return Backlog(connection.unsent(), 0, False)


class Refusal(NamedTuple):
    """An answer to a client that may not come in."""

    status: int
    text: str


class ASGIApplication:
    """An ASGI application that serves clients of rooms, made by `Realtime.asgi`.

    It takes WebSocket connections under every path. Paths that end with `/trunkline.js` have the client for browsers.
    As the whole application of a server it starts the node, and closes it (the lifespan of ASGI).
    """

    def __init__(
        self,
        door: WebSocketDoor,
        running: Running,
        *,
        origins: Origins = None,
        authenticate: Authenticate | None = None,
    ) -> None:
        self._door = door
        self._running = running
        self._same_origin = origins is None
        self._negotiation = None if origins is None or origins == "*" else ServerNegotiation(origins=origins)
        self._authenticate = None if authenticate is None else _of_scope(authenticate)

    __name__ = "realtime"  # frameworks call a route by it

    async def __call__(self, scope: Any, receive: Receive | None = None, send: Send | None = None) -> None:
        """Serve a scope; or a `WebSocket` of Starlette, as an endpoint that is a function."""
        if receive is None or send is None:
            scope, receive, send = scope.scope, scope.receive, scope.send
        match scope["type"]:
            case "websocket":
                await self._serve(scope, receive, send)
            case "http":
                await self._answer(scope, send)
            case "lifespan":
                await self._live(receive, send)

    def mount(self, app: Any, path: str) -> None:
        """Serve a path of an application of Starlette or FastAPI, and all paths below it.

        `app.mount(path, rt.asgi())` serves the paths below alone: Starlette refuses a WebSocket connection to the bare
        path with status 403.

        Args:
            app: the application.
            path: for example "/connection".

        Raises:
            ImportError: if Starlette isn't there.
        """
        routing = _starlette().routing
        bare = path.rstrip("/")
        app.router.routes.append(routing.WebSocketRoute(bare or "/", self))
        app.router.routes.append(routing.Mount(bare, app=self))

    # WebSocket

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        identity, refusal = await self._admit(scope)
        if refusal is not None:
            await _refuse(scope, send, refusal)
            return
        subprotocol = select_subprotocol(None, scope.get("subprotocols") or ())
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        connection: Any = native_connection(scope) or ASGIWebSocket(scope, receive, send, subprotocol=subprotocol)
        kind = ASGIPeer if isinstance(connection, ASGIWebSocket) else WebSocketPeer
        peer = kind(connection, scope)
        try:
            await self._door.serve_peer(peer, identity)
        except Exception:
            connection.start_closing(CloseCode.INTERNAL_ERROR, "")
            raise
        finally:
            await connection.close()

    async def _admit(self, scope: Any) -> tuple[tuple[str, Any] | None, Refusal | None]:
        """Find out who a client is; or why it may not come in."""
        headers = Headers()
        for name, value in scope["headers"]:
            headers.set_insecure(name.decode("iso-8859-1"), value.decode("iso-8859-1"))
        try:
            if self._negotiation is not None:
                self._negotiation.negotiate(headers, Headers())
            elif self._same_origin:
                check_same_origin(headers)
        except InvalidHandshake as error:
            logger.info("a client was refused: %s", error)
            return None, Refusal(403, f"{error}\n")
        if self._authenticate is None:
            return None, None
        try:
            identity = await self._authenticate(scope)
        except Exception as error:
            status = getattr(error, "status_code", None)  # HTTPException of Starlette
            if not isinstance(status, int):
                raise
            return None, Refusal(status, f"{getattr(error, 'detail', '')}\n")
        if identity is None:
            return None, Refusal(401, "Unauthorized\n")
        return (identity if isinstance(identity, tuple) else (identity, None)), None

    # HTTP and the lifespan

    async def _answer(self, scope: Any, send: Send) -> None:
        status, headers, body = 404, {"Content-Type": "text/plain"}, b"Here are WebSocket connections alone.\n"
        if scope["path"].endswith(PATH) and scope["method"] in ("GET", "HEAD"):
            status, headers, body = 200, SOURCE_HEADERS, SOURCE
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        raw.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self._running.start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._running.close()
        await send({"type": "lifespan.shutdown.complete"})


def check_same_origin(headers: Headers) -> None:
    """Admit pages of the same host, and clients that aren't pages (RFC 6455 section 10.2).

    Raises:
        InvalidHandshake: if the page is another one.
    """
    origin, host = headers.get("Origin"), headers.get("Host")
    if origin is None:
        return
    if origin == "null" or host is None or urlsplit(origin).netloc.lower() != host.lower():
        raise InvalidHandshake(f"the page's origin is {origin}, and the host is {host}: name it in rt.asgi(origins=…)")


async def _refuse(scope: Any, send: Send, refusal: Refusal) -> None:
    """Answer with a status; servers that can't do that say 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": int(CloseCode.POLICY_VIOLATION), "reason": ""})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "websocket.http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": refusal.text.encode()})


def _of_scope(authenticate: Authenticate) -> Authenticate:
    """The function as one that takes a scope. FastAPI calls it if it has parameters that FastAPI resolves."""
    connection_of = _starlette().requests.HTTPConnection
    known = dependent(authenticate, parameters_of(authenticate))

    async def call(scope: Any) -> Any:
        if known is None:
            return await authenticate(connection_of(scope))
        return await known(scope, *[connection_of(scope)] if known.parameters else ())

    return call


def _starlette() -> Any:
    """The package, with the modules that are needed.

    Raises:
        ImportError: if it isn't installed.
    """
    try:
        import starlette.requests
        import starlette.routing
    except ImportError as error:
        raise ImportError(NEEDS_STARLETTE) from error
    return starlette
