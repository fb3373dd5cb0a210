"""Records of connections at INFO, on every driver: where they come from, and how they end.

Programs look for the texts that websockets has, so a record begins with one of them. Behind it stand the peer and the
path, without the query, which may hold a token.
"""

from __future__ import annotations

from typing import Any

from trunkline.frames import Close
from trunkline.http11 import Request

__all__ = ["address_in_words", "describe_end", "describe_origin"]

DETAILED = True  # whether more is said than websockets says; not where `trunkline.compat` stands in for it


def address_in_words(address: Any) -> str:
    """The address of a socket: host and port, or the path of a Unix socket."""
    match address:
        case (host, port):
            return f"{host}:{port}"
        case (host, port, _, _):  # IPv6
            return f"[{host}]:{port}"
        case None:
            return "an unknown peer"
        case "" | b"":  # clients have no name there
            return "a Unix socket"
        case path:
            return str(path)


def describe_origin(address: Any, request: Request | None) -> str:
    """The peer, and the path that it asked for."""
    peer = address_in_words(address)
    return peer if request is None else f"{peer} {request.path.partition('?')[0]}"


def describe_end(code: int | None, seconds: float) -> str:
    """The close code, and how long the connection was open."""
    return f"{Close(1006 if code is None else code, '')} after {seconds:.1f} s"
