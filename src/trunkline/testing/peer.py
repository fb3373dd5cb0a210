"""A scripted peer: a WebSocket client or server whose every byte the test decides.

It blocks, so the test that drives it is a plain function, and what it talks to runs in another thread or process::

    with Peer.connect(("localhost", 8765)) as peer:
        peer.open()
        peer.send_frame(TEXT, b"caf\\xc3", fin=False)
        assert peer.read_close() == 1007

It reads only when told to: a peer that doesn't read is a test that doesn't call a method that reads. A call
that takes longer than `PATIENCE` counts as hung, and raises TimeoutError.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from typing import Any, Self

from trunkline.core.session import Side
from trunkline.testing.wire import (
    CLOSE,
    Incoming,
    RawFrame,
    close_frame,
    encode_frame,
    random_mask,
    request,
    status_of,
    switching_protocols,
)

__all__ = ["PATIENCE", "Peer", "PeerListener"]

PATIENCE = 10.0
"""Seconds after which a read or a write that should have completed counts as hung."""


class Peer:
    """One end of a connection whose bytes the test writes and reads itself.

    Args:
        sock: a connected socket, or what has `sendall`, `recv`, `shutdown` and `close`, such as the end of a `pipe`.
        side: which end it plays. A client masks what `send_frame` sends (RFC 6455 section 5.3).

    Attributes:
        sock: as above.
        side: as above; a test may change it to break the rule.
        incoming: what was received and not read yet.
    """

    def __init__(self, sock: Any, side: Side = Side.CLIENT) -> None:
        sock.settimeout(PATIENCE)
        with contextlib.suppress(OSError, AttributeError):  # only TCP has such an option
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.side = side
        self.incoming = Incoming()

    @classmethod
    def connect(cls, address: Any, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> Self:
        """A client, connected to a socket's address: (host, port), or the path of a Unix socket.

        Args:
            receive_buffer: size in bytes of the kernel's buffer; with a small one, who writes feels a slow reader.
            tls: makes the connection one over TLS.
        """
        family = socket.AF_UNIX if isinstance(address, str | bytes) else socket.AF_INET
        if family == socket.AF_INET and ":" in address[0]:
            family = socket.AF_INET6
        sock = socket.socket(family)
        try:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.settimeout(PATIENCE)
            sock.connect(address)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname="localhost")
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # The opening handshake

    def open(self, *headers: str, path: str = "/") -> bytes:
        """Do a client's part, with more header lines; returns the head of the response.

        Raises:
            AssertionError: if the server refuses.
        """
        self.send(request(*headers, path=path))
        head = self.read_head()
        assert status_of(head) == 101, head
        return head

    def accept(self, *headers: str) -> bytes:
        """Do a server's part, with more header lines; returns the head of the request."""
        head = self.read_head()
        self.send(switching_protocols(head, *headers))
        return head

    # Writing

    def send(self, *data: bytes) -> None:
        """Write bytes; TimeoutError when the other end doesn't take them."""
        self.sock.sendall(b"".join(data))

    def frame(self, opcode: int, payload: bytes = b"", **fields: Any) -> bytes:
        """The bytes of a frame, masked if this is a client; `fields` as of `encode_frame`."""
        fields.setdefault("mask", random_mask() if self.side is Side.CLIENT else None)
        return encode_frame(opcode, payload, **fields)

    def send_frame(self, opcode: int, payload: bytes = b"", **fields: Any) -> None:
        """Write a frame; `fields` as of `encode_frame`."""
        self.send(self.frame(opcode, payload, **fields))

    def send_close(self, code: int | None = 1000, reason: bytes = b"") -> None:
        """Write a close frame; `code=None` leaves its body empty."""
        self.send(close_frame(code, reason, mask=random_mask() if self.side is Side.CLIENT else None))

    def send_until_blocked(self, chunk: bytes, *, limit: int, patience: float = 1.0) -> int:
        """Write `chunk` again and again until the other end stops reading for `patience` seconds, or closes.

        Returns:
            The number of bytes written, whole chunks only; at least `limit` when nothing stopped us.
        """
        sent = 0
        self.sock.settimeout(patience)
        try:
            while sent < limit:
                self.sock.sendall(chunk)
                sent += len(chunk)
        except (TimeoutError, ConnectionError):
            pass
        finally:
            self.sock.settimeout(PATIENCE)
        return sent

    # Reading

    def _receive(self) -> bool:
        """Read once; False at the end of the stream."""
        data = self.sock.recv(1 << 16)
        self.incoming.feed(data)
        return bool(data)

    def read_head(self) -> bytes:
        """Read the head of an HTTP message, with the empty line that ends it; EOFError when the stream ends before."""
        while (head := self.incoming.take_head()) is None:
            if not self._receive():
                raise EOFError(f"the stream ended within a head: {bytes(self.incoming.buffer)!r}")
        return head

    def read_exactly(self, size: int) -> bytes:
        """Read that many bytes; EOFError when the stream ends before."""
        while len(self.incoming) < size:
            if not self._receive():
                raise EOFError(f"the stream ended after {len(self.incoming)} of {size} bytes")
        return self.incoming.take(size)

    def read_frame(self) -> RawFrame:
        """Read one frame; EOFError when the stream ends before."""
        while (frame := self.incoming.take_frame()) is None:
            if not self._receive():
                raise EOFError(f"the stream ended within a frame: {bytes(self.incoming.buffer[:100])!r}")
        return frame

    def read_message(self) -> RawFrame:
        """Read the frames of one message, without control frames between them; returned as one frame."""
        frames = [self.read_frame()]
        while not frames[-1].fin:
            frames.append(self.read_frame())
        return RawFrame(frames[0].opcode, b"".join(frame.payload for frame in frames), True, frames[0].rsv)

    def read_close(self) -> int | None:
        """Skip frames until a close frame; returns its code, None if it has none."""
        while (frame := self.read_frame()).opcode != CLOSE:
            pass
        return frame.close_code

    def read_to_eof(self) -> bytes:
        """Read until the other end closes or resets the connection."""
        with contextlib.suppress(ConnectionError):
            while self._receive():
                pass
        return self.incoming.take(len(self.incoming))

    # The end

    def end(self) -> None:
        """End our half of the stream; the other half goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Cut the connection, with a TCP RST."""
        with contextlib.suppress(OSError, AttributeError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


class PeerListener:
    """A listening socket on a free port of this machine, for clients to connect to; `accept` makes each a `Peer`."""

    def __init__(self, *, receive_buffer: int | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        if receive_buffer is not None:  # connections inherit it
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(PATIENCE)
        self.tls = tls

    @property
    def port(self) -> int:
        """The port."""
        port: int = self.sock.getsockname()[1]
        return port

    @property
    def uri(self) -> str:
        """The URI to connect to."""
        return f"ws://127.0.0.1:{self.port}/" if self.tls is None else f"wss://localhost:{self.port}/"

    def accept(self) -> Peer:
        """The server's end of the next connection."""
        sock, _ = self.sock.accept()
        if self.tls is not None:
            sock.settimeout(PATIENCE)
            sock = self.tls.wrap_socket(sock, server_side=True)
        return Peer(sock, Side.SERVER)

    def __iter__(self) -> Iterator[Peer]:
        while True:
            yield self.accept()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.sock.close()
