"""trunkline: WebSockets for Python, end to end.

A program written for `websockets` runs with `import trunkline as websockets`.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from trunkline import datastructures, exceptions, extensions, frames, http11, typing, uri
from trunkline.asyncio.client import ClientConnection, connect, unix_connect
from trunkline.asyncio.connection import Connection, broadcast
from trunkline.asyncio.engine import engine_info
from trunkline.asyncio.router import Router, route, unix_route
from trunkline.asyncio.server import Server, ServerConnection, basic_auth, serve, unix_serve
from trunkline.core.writer import PreparedMessage
from trunkline.datastructures import Headers, HeadersLike, MultipleValuesError
from trunkline.exceptions import *  # noqa: F403
from trunkline.exceptions import __all__ as _exceptions
from trunkline.frames import Close, CloseCode, Frame, Opcode
from trunkline.http11 import Request, Response
from trunkline.json import InvalidJSON
from trunkline.sansio.client import ClientProtocol
from trunkline.sansio.protocol import Protocol, Side, State
from trunkline.sansio.server import ServerProtocol
from trunkline.typing import Data, ExtensionName, ExtensionParameter, LoggerLike, Origin, StatusLike, Subprotocol
from trunkline.version import __version__

__all__ = [
    "ClientConnection",
    "ClientProtocol",
    "Close",
    "CloseCode",
    "Connection",
    "Data",
    "ExtensionName",
    "ExtensionParameter",
    "Frame",
    "Headers",
    "HeadersLike",
    "InvalidJSON",
    "LoggerLike",
    "MultipleValuesError",
    "Opcode",
    "Origin",
    "PreparedMessage",
    "Protocol",
    "Request",
    "Response",
    "Router",
    "Server",
    "ServerConnection",
    "ServerProtocol",
    "Side",
    "State",
    "StatusLike",
    "Subprotocol",
    "__version__",
    "basic_auth",
    "broadcast",
    "connect",
    "datastructures",
    "engine_info",
    "exceptions",
    "extensions",
    "frames",
    "http11",
    "route",
    "serve",
    "typing",
    "unix_connect",
    "unix_route",
    "unix_serve",
    "uri",
]
__all__ += _exceptions

#: Names of older versions of websockets, mostly found in annotations.
_DEPRECATED = {
    "InvalidStatusCode": "InvalidStatus",
    "WebSocketClientProtocol": "ClientConnection",
    "WebSocketCommonProtocol": "Connection",
    "WebSocketProtocolError": "ProtocolError",
    "WebSocketServer": "Server",
    "WebSocketServerProtocol": "ServerConnection",
}

if not TYPE_CHECKING:  # or type checkers would believe that we have any name

    def __getattr__(name: str, stacklevel: int = 2) -> object:
        if name not in _DEPRECATED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(f"{name} is deprecated: use {_DEPRECATED[name]}", DeprecationWarning, stacklevel)
        return globals()[_DEPRECATED[name]]
