"""Heads of opening handshakes: how bytes are split changes nothing, and only `InvalidHandshake` is raised."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

from fuzz.sessions import mutated, pieces
from tests.support.raw import KEY, request, switching_protocols
from trunkline.exceptions import InvalidHandshake, SecurityError
from trunkline.handshake.head import ResponseReader
from trunkline.handshake.server import ServerHandshake

LINES = (
    "Origin: http://localhost",
    "Cookie: a=b; c=\xe4",
    "Sec-WebSocket-Protocol: chat, superchat",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
    "Content-Length: 0",
    "Transfer-Encoding: chunked",
    "Sec-WebSocket-Version: 8",
    f"Sec-WebSocket-Key: {KEY}",
    "X: " + "x" * 9000,
    "Host: elsewhere",
    " folded",
    "No colon",
    "Empty:",
    "Space : before",
)


def server_reads(parts: Iterable[bytes]) -> Any:
    """The request that a server reads from these bytes, and its answer."""
    handshake = ServerHandshake(subprotocols=["chat"])
    parsed = None
    try:
        for part in parts:
            parsed = handshake.receive_data(part) or parsed
    except InvalidHandshake as error:
        response = handshake.refuse(error)
        return type(error), str(error), response.status_code, response.body
    if parsed is None:
        return "incomplete"
    response = handshake.accept(parsed)
    return parsed.path, list(parsed.headers.raw_items()), handshake.remaining, response.status_code, response.body


def client_reads(parts: Iterable[bytes]) -> Any:
    """The response that a client reads from these bytes, up to the end of the stream."""
    reader = ResponseReader()
    response = None
    try:
        for part in parts:
            if response is not None:
                break
            response = reader.receive_data(part)
        if response is None:
            response = reader.receive_eof()
    except (InvalidHandshake, SecurityError) as error:
        return type(error), str(error)
    return response.status_code, response.reason_phrase, list(response.headers.raw_items()), response.body


def fuzz(draw: random.Random) -> str | None:
    """One random head, whole and in pieces; a description if that makes a difference."""
    lines = draw.sample(LINES, draw.choice((0, 0, 1, 2, 5)))
    head = request(*lines, path=draw.choice(("/", "/chat?a=b", "http://localhost/", "*", "/\xe4")))
    reads = server_reads
    if draw.random() < 0.4:
        head = switching_protocols(head, *lines)
        if draw.random() < 0.5:
            head = head.replace(b"101 Switching Protocols", b"200 OK") + b"body"
        reads = client_reads
    elif draw.random() < 0.3:
        head += draw.choice((b"\x81\x80\0\0\0\0", b"GET / HTTP/1.1\r\n", b"\x81"))
    if draw.random() < 0.7:
        head = mutated(draw, head)
    parts = list(pieces(draw, head))
    whole, split = reads([head]), reads(parts)
    if "data that isn't a frame follows it" in str(whole):
        return None  # a server can only refuse that when it comes with the head: later the session does, with 1002
    return None if whole == split else f"{parts!r}\nis read as {split!r},\nbut as a whole as {whole!r}"
