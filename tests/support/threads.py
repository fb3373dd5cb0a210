"""Peers for tests of the driver for threads: servers in a thread, and one that speaks bytes and blocks."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from tests.support.raw import CLOSE, RawFrame, apply_mask, request, status_of, switching_protocols
from trunkline.sync.client import ClientConnection, connect
from trunkline.sync.server import Server, ServerConnection, serve

PATIENCE = 10.0
"""Seconds after which something that should have happened counts as hung."""


def echo(ws: ServerConnection) -> None:
    """Send every message back."""
    for message in ws:
        ws.send(message)


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Run a server in a thread, until the end of the context."""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join(PATIENCE)
        assert not thread.is_alive()


@contextlib.contextmanager
def served(handler: Callable[..., Any] = echo, **options: Any) -> Iterator[str]:
    """A server in a thread; yields its URI."""
    with running(serve(handler, "localhost", 0, **{"compression": None, **options})) as server:
        yield f"{'wss' if options.get('ssl') else 'ws'}://localhost:{port_of(server)}/"


def port_of(server: Server) -> int:
    port: int = server.socket.getsockname()[1]
    return port


class BlockingPeer:
    """One TCP connection whose bytes the test writes and reads itself."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.buffer = b""

    @classmethod
    def connect(cls, port: int) -> Self:
        return cls(socket.create_connection(("127.0.0.1", port)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()

    def open(self, *headers: str, path: str = "/") -> bytes:
        """The client's part of the opening handshake; returns the head of the response."""
        self.send(request(*headers, path=path))
        head = self.read_head()
        assert status_of(head) == 101, head
        return head

    def accept(self, *headers: str) -> bytes:
        """The server's part of the opening handshake; returns the head of the request."""
        head = self.read_head()
        self.send(switching_protocols(head, *headers))
        return head

    def send(self, *data: bytes) -> None:
        self.sock.sendall(b"".join(data))

    def read_exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError(f"stream ended after {len(self.buffer)} of {size} bytes")
            self.buffer += data
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read_exactly(1)
        return head

    def read_frame(self) -> RawFrame:
        first, second = self.read_exactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self.read_exactly(2 if size == 126 else 8), "big")
        mask = self.read_exactly(4) if second & 0x80 else None
        payload = self.read_exactly(size)
        payload = payload if mask is None else apply_mask(payload, mask)
        return RawFrame(first & 0x0F, payload, bool(first & 0x80), first & 0x70, mask)

    def read_close(self) -> int | None:
        """Skip frames until a Close frame; its code."""
        while (frame := self.read_frame()).opcode != CLOSE:
            pass
        return frame.close_code

    def read_to_eof(self) -> bytes:
        with contextlib.suppress(ConnectionError):
            while data := self.sock.recv(1 << 16):
                self.buffer += data
        data, self.buffer = self.buffer, b""
        return data


@contextlib.contextmanager
def client_of_raw_server(**options: Any) -> Iterator[tuple[ClientConnection, BlockingPeer]]:
    """A client of ours, and the server that it is connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listener, contextlib.ExitStack() as stack:
        peers: queue.Queue[BlockingPeer] = queue.Queue()

        def accept() -> None:
            peer = BlockingPeer(listener.accept()[0])
            peer.accept()
            peers.put(peer)

        accepting = threading.Thread(target=accept)
        accepting.start()
        uri = f"ws://127.0.0.1:{listener.getsockname()[1]}/"
        ws = connect(uri, **{"legacy": True, "compression": None, "close_timeout": 0.2, **options})
        accepting.join()
        peer = stack.enter_context(peers.get(timeout=PATIENCE))
        with ws:
            yield ws, peer


@contextlib.contextmanager
def server_of_raw_client(**options: Any) -> Iterator[tuple[ServerConnection, BlockingPeer]]:
    """A connection of a server of ours, and the client at its other end."""
    connections: queue.Queue[ServerConnection] = queue.Queue()
    done = threading.Event()

    def handler(ws: ServerConnection) -> None:
        connections.put(ws)
        done.wait()

    server = serve(handler, "127.0.0.1", 0, **{"compression": None, "close_timeout": 0.2, **options})
    with running(server), BlockingPeer.connect(port_of(server)) as peer:
        peer.open()
        try:
            yield connections.get(timeout=PATIENCE), peer
        finally:
            done.set()


@contextlib.contextmanager
def loop_in_a_thread(context: Callable[[], contextlib.AbstractAsyncContextManager[Any]]) -> Iterator[Any]:
    """Keep an asynchronous context manager open in an event loop of another thread; yields what it yields."""
    values: queue.Queue[Any] = queue.Queue()
    loops: queue.Queue[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def main() -> None:
        over = asyncio.Event()
        async with context() as value:
            values.put(value)
            loops.put((asyncio.get_running_loop(), over))
            await over.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        yield values.get(timeout=PATIENCE)
    finally:
        loop, over = loops.get(timeout=PATIENCE)
        loop.call_soon_threadsafe(over.set)
        thread.join()


def in_thread(function: Callable[..., Any], *arguments: Any, **options: Any) -> Call:
    """Call a function in a thread."""
    return Call(function, arguments, options)


class Call:
    """A function that runs in a thread."""

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(function, arguments, options))
        self.thread.start()

    def _run(self, function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        try:
            self.value = function(*arguments, **options)
        except BaseException as error:
            self.error = error

    def result(self) -> Any:
        """The result of the function; its exception is raised here."""
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "hung"
        if self.error is not None:
            raise self.error
        return self.value

    @property
    def running(self) -> bool:
        return self.thread.is_alive()


def eventually(condition: Callable[[], Any]) -> None:
    """Wait until something is true."""
    tick = threading.Event()
    for _ in range(int(PATIENCE * 200)):
        if condition():
            return
        tick.wait(0.005)
    raise AssertionError("it did not happen")
