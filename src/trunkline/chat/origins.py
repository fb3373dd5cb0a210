"""Which web pages may open a WebSocket to the chat room.

A browser lets any page connect to any WebSocket server. It tells the server where the page came from, in the header
field ``Origin`` (RFC 6455 section 10.2). Other clients send no ``Origin``, and need no check: a page can't trick them.
"""

from __future__ import annotations

import socket
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

__all__ = ["is_welcome"]


def is_welcome(origin: str | None, host: str, allowed: Collection[str] = ()) -> bool:
    """Tell whether a handshake from ``origin`` may go on.

    The server accepts clients without an origin, the ``allowed`` origins, and the page that it served itself. The
    origin of that page has the ``host`` that the request is for. That host is an address, localhost, or this machine's
    name. Without the last condition a page could point its own domain name at this server (DNS rebinding).

    Args:
        origin: value of the header field Origin, ``None`` if there was none.
        host: value of the header field Host.
        allowed: more origins, such as ``https://chat.example.com``.
    """
    if origin is None or origin.lower() in {each.lower().rstrip("/") for each in allowed}:
        return True
    try:
        return _authority(origin) == _authority(f"//{host}") and _is_this_machine(urlsplit(origin).hostname or "")
    except ValueError:  # not a URL, or a port that is no number
        return False


def _authority(url: str) -> tuple[str | None, int | None]:
    parts = urlsplit(url)
    return parts.hostname, None if parts.port in (80, 443) else parts.port


def _is_this_machine(hostname: str) -> bool:
    if hostname == "localhost" or hostname.endswith(".localhost"):  # RFC 6761 section 6.3: always loopback
        return True
    if hostname.partition(".")[0] == socket.gethostname().partition(".")[0].lower():
        return True
    try:
        ip_address(hostname)
    except ValueError:
        return False
    return True
