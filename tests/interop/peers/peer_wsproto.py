"""wsproto, a protocol without input or output, on blocking sockets."""

from __future__ import annotations

import socket
import threading
from typing import Any
from urllib.parse import urlsplit

from dialogue import FRAGMENTS, SUBPROTOCOL, parse, run_threads
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)


class Talk:
    def __init__(self, sock: socket.socket, role: ConnectionType) -> None:
        self.sock = sock
        self.protocol = WSConnection(role)
        self.subprotocol: str | None = None
        self.parts: list[Any] = []

    def send(self, event: Any) -> None:
        self.sock.sendall(self.protocol.send(event))

    def run(self) -> None:
        with self.sock:
            while data := self.sock.recv(65536):
                self.protocol.receive_data(data)
                for event in self.protocol.events():
                    if not self.process(event):
                        return

    def process(self, event: Any) -> bool:
        """Answer an event; False at the end of the connection."""
        match event:
            case Request():
                self.subprotocol = SUBPROTOCOL if SUBPROTOCOL in event.subprotocols else None
                self.send(AcceptConnection(subprotocol=self.subprotocol))
            case AcceptConnection():
                self.subprotocol = event.subprotocol
            case Ping():
                self.send(event.response())
            case Pong():
                self.send(TextMessage("!pong"))
            case CloseConnection():
                if self.protocol.state.name == "REMOTE_CLOSING":
                    self.send(event.response())
                return False
            case Message():
                self.parts.append(event.data)
                if event.message_finished:
                    self.obey(type(event), type(event.data)().join(self.parts))
                    self.parts.clear()
        return True

    def obey(self, kind: Any, message: Any) -> None:
        match parse(message if kind is TextMessage else bytes(message)):
            case None if kind is TextMessage:
                self.send(TextMessage(message))
            case None:
                self.send(BytesMessage(bytes(message)))
            case ("close", code, reason):
                self.send(CloseConnection(code, reason))
            case ("ping", _, _):
                self.send(Ping(b"ping"))
            case ("fragments", _, _):
                for n, fragment in enumerate(FRAGMENTS):
                    self.send(TextMessage(fragment, message_finished=n == len(FRAGMENTS) - 1))
            case ("subprotocol", _, _):
                self.send(TextMessage(str(self.subprotocol)))
            case ("abort", _, _):
                self.sock.shutdown(socket.SHUT_RDWR)


def listen() -> int:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=Talk(sock, ConnectionType.SERVER).run, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def connect(uri: str) -> None:
    parts = urlsplit(uri)
    talk = Talk(socket.create_connection((parts.hostname, parts.port)), ConnectionType.CLIENT)
    talk.send(Request(host=parts.netloc, target=parts.path or "/", subprotocols=[SUBPROTOCOL]))
    talk.run()


if __name__ == "__main__":
    run_threads(listen, connect)
