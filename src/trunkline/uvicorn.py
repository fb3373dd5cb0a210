"""trunkline for uvicorn: `uvicorn --ws trunkline.uvicorn:WebSocketProtocol app:app` (uvicorn 0.36 or later).

uvicorn reads the request and hands the transport over; everything from the answer on is ours. This is the only module
that imports uvicorn.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import http
import logging
from typing import Any, NamedTuple
from urllib.parse import unquote

try:
    from uvicorn.config import Config
    from uvicorn.logging import TRACE_LOG_LEVEL
    from uvicorn.protocols.utils import (
        ClientDisconnected,
        get_client_addr,
        get_local_addr,
        get_path_with_query_string,
        get_remote_addr,
        is_ssl,
    )
    from uvicorn.server import ServerState
except ImportError as error:
    raise ImportError("trunkline.uvicorn needs uvicorn 0.36 or later: pip install 'trunkline[uvicorn]'") from error

from trunkline.asgi.connection import EXTENSION, ASGIConnection, RawHeaders, Stage
from trunkline.compiled import warn_of_missing_modules
from trunkline.core.session import State
from trunkline.extensions.permessage_deflate import enable_server_permessage_deflate
from trunkline.http11 import Request
from trunkline.options import Options

__all__ = ["WebSocketProtocol"]

LOGGER = logging.getLogger("uvicorn.error")
DEFLATE = list(enable_server_permessage_deflate(None))
#: Names of headers whose values are the same for many clients. Connections share them: they are half of a scope.
FREQUENT = frozenset({
    "accept", "accept-encoding", "accept-language", "cache-control", "connection", "host", "origin", "pragma",
    "sec-websocket-extensions", "sec-websocket-protocol", "sec-websocket-version", "upgrade", "user-agent",
})  # fmt: skip
SHUTDOWN_TIMEOUT = 1.0  # seconds for clients to answer the close frame of a server that shuts down


@functools.lru_cache(maxsize=8)
def options_for(max_size: int, max_queue: int, ping_interval: float | None, ping_timeout: float | None) -> Options:
    """The settings of uvicorn as ours. All connections of a server share them."""
    return Options(
        open_timeout=None,  # the application takes its time
        ping_interval=ping_interval or None,  # 0 switches pings off, too
        ping_timeout=ping_timeout,
        max_size=max_size,
        max_queue=max_queue,
    )


class Surroundings(NamedTuple):
    """The things of uvicorn that all connections of a server have to do with."""

    config: Config
    state: ServerState
    app_state: dict[str, Any]


def surroundings(config: Config, state: ServerState, app_state: dict[str, Any]) -> Surroundings:
    """One object for all connections of a server, so that none has to keep three."""
    kept: Surroundings | None = getattr(state, "trunkline", None)
    if kept is None or kept.config is not config or kept.app_state is not app_state:
        kept = Surroundings(config, state, app_state)
        state.trunkline = kept  # type: ignore[attr-defined]
    return kept


def header(name: str, value: str) -> tuple[bytes, bytes]:
    """A header as ASGI has it."""
    return shared_header(name, value) if name in FREQUENT else (name.encode("ascii"), value.encode("iso-8859-1"))


@functools.lru_cache(maxsize=256)
def shared_header(name: str, value: str) -> tuple[bytes, bytes]:
    return name.encode("ascii"), value.encode("iso-8859-1")


@functools.lru_cache(maxsize=64)
def shared_address(address: tuple[str, int | None] | None) -> tuple[str, int | None] | None:
    """The address of a server, which is the same for all its connections."""
    return address


class WebSocketProtocol(ASGIConnection):
    """A WebSocket connection under uvicorn, for its `ws` setting.

    All settings of uvicorn for WebSockets count. `ws_max_size` is in bytes of a message. Reading pauses while more than
    `ws_max_queue` frames wait for the application. `limit_concurrency` refuses with status 503, as for HTTP.

    `scope["extensions"]["trunkline"]["connection"]` is the connection itself: a `Connection`, for `broadcast`, prepared
    messages, pings and all the rest.
    """

    disconnected = ClientDisconnected

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        if not config.loaded:
            config.load()
        warn_of_missing_modules()
        options = options_for(config.ws_max_size, config.ws_max_queue, config.ws_ping_interval, config.ws_ping_timeout)
        super().__init__(config.loaded_app, options, LOGGER, DEFLATE if config.ws_per_message_deflate else None)
        self.server = surroundings(config, server_state, app_state)

    # asyncio.Protocol

    def connection_made(self, transport: Any) -> None:
        if self.transport is None:
            self.server.state.connections.add(self)
            self._trace("WebSocket connection made")
        super().connection_made(transport if hasattr(transport, "abort") else BareTransport(transport))

    def connection_lost(self, error: BaseException | None) -> None:
        super().connection_lost(error)
        self.scope = None
        self.server.state.connections.discard(self)
        self._trace("WebSocket connection lost")

    # For ASGIConnection

    def default_headers(self) -> RawHeaders:
        headers: RawHeaders = self.server.state.default_headers
        return headers

    def received(self, request: Request) -> None:
        self.scope = self._make_scope(request)
        if self._is_full():
            LOGGER.warning("Exceeded concurrency limit.")
            self.log_answer("503")
            self.refuse(self._handshake.reject(http.HTTPStatus.SERVICE_UNAVAILABLE, "Service Unavailable"))
            return
        isolated = getattr(self.server.config, "reset_contextvars", False)  # uvicorn 0.41 or later
        task = self.run(self.scope, contextvars.Context() if isolated else None)
        self.server.state.tasks.add(task)
        task.add_done_callback(self.server.state.tasks.discard)

    def _is_full(self) -> bool:
        """As uvicorn counts for HTTP: this connection is among them."""
        limit = self.server.config.limit_concurrency
        state = self.server.state
        return limit is not None and (len(state.connections) >= limit or len(state.tasks) >= limit)

    def _make_scope(self, request: Request) -> dict[str, Any]:
        target, _, query = request.path.partition("?")
        root = self.server.config.root_path
        return {
            "type": "websocket",
            "asgi": {"version": self.server.config.asgi_version, "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "wss" if is_ssl(self.transport) else "ws",
            "server": shared_address(get_local_addr(self.transport)),
            "client": get_remote_addr(self.transport),
            "root_path": root,
            "path": root + unquote(target),
            "raw_path": (root + target).encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [header(name.lower(), value) for name, value in request.headers.raw_items()],
            "subprotocols": self.offered_subprotocols(),
            "state": self.server.app_state.copy(),
            "extensions": {"websocket.http.response": {}, EXTENSION: {"connection": self}},
        }

    def log_answer(self, answer: str) -> None:
        scope: Any = self.scope
        LOGGER.info('%s - "WebSocket %s" %s', get_client_addr(scope), get_path_with_query_string(scope), answer)
        self.scope = None  # it refers to us

    def _trace(self, event: str) -> None:
        if LOGGER.isEnabledFor(TRACE_LOG_LEVEL):
            client = self.remote_address
            prefix = f"{client[0]}:{client[1]} - " if isinstance(client, tuple) else ""
            LOGGER.log(TRACE_LOG_LEVEL, "%s%s", prefix, event)

    # For uvicorn's Server

    def shutdown(self) -> None:
        """Part with the client: the server shuts down, and waits until connections and applications have ended."""
        if self.on_server_closing is not None:
            self.on_server_closing()
        if self.session.state is State.OPEN:
            self.start_closing(*self.farewell)
            self.drop_after(SHUTDOWN_TIMEOUT)
        elif self.stage is Stage.UNDECIDED and self.acceptance is not None:
            self.refuse(self._handshake.reject(http.HTTPStatus.SERVICE_UNAVAILABLE, "Server is shutting down.\n"))
        elif self.stage is not Stage.RESPONDING:
            self.transport.close()

    @property
    def close_timer(self) -> float | None:
        """When a client that doesn't answer the application's close frame is dropped (a name of uvicorn's classes)."""
        waits = self.session.state is State.CLOSING and self.session.close_rcvd is None
        return self.deadline() if waits and not self.transport.is_closing() else None


class BareTransport:
    """A transport with no more methods than uvicorn's own classes use, as in its tests."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def get_protocol(self) -> None:
        return None

    def abort(self) -> None:
        self._transport.close()

    def can_write_eof(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0
