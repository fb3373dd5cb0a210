"""Answers of the chat room to plain HTTP requests: its page, the files of the page, and whether it is alive."""

from __future__ import annotations

from http import HTTPStatus
from importlib.resources import files
from urllib.parse import unquote

from trunkline.chat.rooms import is_room_name
from trunkline.datastructures import Headers
from trunkline.http11 import Request, Response

__all__ = ["answer", "plain", "room_name"]

CONTENT_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

# Only our own files, nothing inline, no frame of other sites: text that a person sent can never run as a script.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}

CHANNELS = "/connection/websocket"  # where clients of the Centrifuge protocol connect, by convention


def is_channels(path: str) -> bool:
    """Whether `path` is where pages connect."""
    return path.partition("?")[0] == CHANNELS


def room_name(path: str) -> str | None:
    """Name of the room at ``path``: empty for ``/``, NAME for ``/rooms/NAME``, ``None`` where there is no room."""
    path = path.partition("?")[0]
    if path == "/":
        return ""
    prefix, _, quoted = path.partition("/rooms/")
    try:
        name = unquote(quoted, errors="strict")
    except UnicodeDecodeError:
        return None
    return None if prefix or not is_room_name(name) else name


def answer(request: Request) -> Response:
    """Answer a request that is not for a WebSocket."""
    if request.method not in ("GET", "HEAD"):
        # RFC 9110 section 15.5.6: 405 names the methods that would do.
        response = plain(HTTPStatus.METHOD_NOT_ALLOWED, f"{request.method} is not possible here, GET and HEAD are.\n")
        response.headers["Allow"] = "GET, HEAD"
        return response
    return _resource(request.path.partition("?")[0])


def plain(status: HTTPStatus, text: str) -> Response:
    """A response of one line of text."""
    return _response(status, "text/plain; charset=utf-8", text.encode())


def _resource(path: str) -> Response:
    if path == "/healthz":
        return plain(HTTPStatus.OK, "ok\n")
    if room_name(path) is not None:
        return _file("index.html")
    prefix, _, name = path.partition("/static/")
    if not prefix and name in _FILES:
        return _file(name)
    return plain(HTTPStatus.NOT_FOUND, f"There is nothing at {path}. Rooms are at / and at /rooms/NAME.\n")


def _file(name: str) -> Response:
    return _response(HTTPStatus.OK, CONTENT_TYPES[name.rpartition(".")[2]], _FILES[name])


def _response(status: HTTPStatus, content_type: str, body: bytes) -> Response:
    about = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-cache",
        "Connection": "close",
    }
    headers = Headers(SECURITY_HEADERS | about)
    return Response(status.value, status.phrase, headers, body)


_FILES = {file.name: file.read_bytes() for file in (files("trunkline.chat") / "page").iterdir()}
