"""The threads side of `websockets`."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any

import websockets
import websockets.sync.client
import websockets.sync.server
from dialogue import FRAGMENTS, MAX_SIZE, SUBPROTOCOL, parse, run_threads
from peer_websockets import select_subprotocol

OPTIONS: dict[str, Any] = {"subprotocols": [SUBPROTOCOL], "max_size": MAX_SIZE, "compression": None}


def tell_of_pong(ws: Any, pong: threading.Event) -> None:
    pong.wait()
    ws.send("!pong")


def talk(ws: Any) -> None:
    for message in ws:
        match parse(message):
            case None:
                ws.send(message)
            case ("close", code, reason):
                ws.close(code, reason)
            case ("ping", _, _):
                threading.Thread(target=tell_of_pong, args=[ws, ws.ping(b"ping")], daemon=True).start()
            case ("fragments", _, _):
                ws.send(FRAGMENTS)
            case ("subprotocol", _, _):
                ws.send(str(ws.subprotocol))
            case ("abort", _, _):
                ws.socket.shutdown(socket.SHUT_RDWR)


def talk_to_the_end(ws: Any) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        talk(ws)


def listen() -> int:
    options = OPTIONS | {"select_subprotocol": select_subprotocol}
    server = websockets.sync.server.serve(talk_to_the_end, "127.0.0.1", 0, **options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port: int = server.socket.getsockname()[1]
    return port


def connect(uri: str) -> None:
    with websockets.sync.client.connect(uri, proxy=None, **OPTIONS) as ws:
        talk_to_the_end(ws)


if __name__ == "__main__":
    run_threads(listen, connect)
