"""Bytes to and from a peer, through a socket that never blocks, with TLS over it, or over TLS.

A thread that wants to wait does so in `wait_for`; everything else returns at once. So one thread may wait for bytes
while another sends, and the thread that watches idle connections can't be held up by any of them.

TLS stands between two buffers in memory (`ssl.MemoryBIO`), not around a socket. No two threads call OpenSSL at a
time, and none waits inside of it. It also makes TLS in TLS, for a `wss://` server behind an `https://` proxy, a
matter of course.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl as ssl_module
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic
from typing import Any, Literal, Protocol

__all__ = ["Deadline", "SecureSocket", "SocketStream", "Stream", "TLSStream", "start_tls", "timeouts_say"]

TIMED_OUT = "timed out during opening handshake"
RECEIVE_SIZE = 1 << 16  # bytes
VECTORS = 64  # buffers that leave in one system call
LONGEST_WAIT = 86400.0  # seconds that one system call waits; the milliseconds of poll(2) end after 24.8 days
TOLD_OF_TLS = frozenset(
    {
        "cipher",
        "compression",
        "context",
        "get_channel_binding",
        "get_unverified_chain",
        "get_verified_chain",
        "getpeercert",
        "selected_alpn_protocol",
        "server_hostname",
        "server_side",
        "session",
        "session_reused",
        "shared_ciphers",
        "version",
    }
)
WOULD_BLOCK = (BlockingIOError, InterruptedError)


class Deadline:
    """A point in time until which something must be done.

    Args:
        timeout: seconds from now, None for no limit.
    """

    def __init__(self, timeout: float | None) -> None:
        self.at = None if timeout is None else monotonic() + timeout

    def remaining(self) -> float | None:
        """Seconds to wait before the next question, None if there is no limit.

        Raises:
            TimeoutError: if none are left.
        """
        if self.at is None:
            return None
        seconds = self.at - monotonic()
        if seconds <= 0:
            raise TimeoutError(TIMED_OUT)
        return min(seconds, LONGEST_WAIT)


@contextlib.contextmanager
def timeouts_say(what: str) -> Iterator[None]:
    """Let a TimeoutError say what took too long."""
    try:
        yield
    except TimeoutError as error:
        raise TimeoutError(what) from error


class Stream(Protocol):
    """A byte stream that carries a connection. Reading belongs to one thread at a time, as does writing."""

    @property
    def sock(self) -> socket.socket:
        """The socket below."""

    @property
    def at_end(self) -> bool:
        """Whether the end of the stream came together with the bytes read last."""

    def read(self) -> bytes | None:
        """Bytes that are there, None if there are none yet, b"" at the end of the stream.

        Raises:
            OSError: if the connection is lost.
        """

    def write(self, chunks: list[bytes]) -> None:
        """Add bytes to what must be sent."""

    def push(self) -> bool:
        """Send as much as the network takes; whether that was all.

        Raises:
            OSError: if the connection is lost.
        """

    def end_writing(self) -> None:
        """End our half of the stream, when all is sent."""


class Waits:
    """The primitives with which threads wait. Fibers have their own, in `trunkline.sync.fibers`."""

    Lock: Any = threading.Lock
    Condition: Any = threading.Condition
    Event: type[threading.Event] = threading.Event


class Here(threading.local):
    """How this thread waits.

    Attributes:
        waits: what to make connections with.
        fiber_thread: what runs fibers in this thread, or None.
        handling: whether this thread is for connections of a server.
    """

    waits: type[Waits] = Waits
    fiber_thread: Any = None
    handling = False


here = Here()


def wait_for(sock: socket.socket, writing: bool, timeout: float | None) -> bool:
    """Wait until a socket can be read or written, or has been shut down; False if it takes longer than `timeout`."""
    if here.fiber_thread is not None:
        return bool(here.fiber_thread.wait_for(sock, writing, timeout))
    if not hasattr(select, "poll"):  # Windows
        readers, writers = ([], [sock]) if writing else ([sock], [])
        return wait_in_parts(lambda seconds: select.select(readers, writers, [], seconds), timeout)
    poll = select.poll()
    poll.register(sock, select.POLLOUT if writing else select.POLLIN)
    return wait_in_parts(lambda seconds: poll.poll(milliseconds(seconds)), timeout)


def wait_in_parts(wait: Callable[[float | None], Iterable[object]], timeout: float | None) -> bool:
    """Wait with a system call that can't wait as long as the caller may; whether it found anything.

    Args:
        wait: waits for so many seconds, None for no limit, and returns what it found.
        timeout: seconds to wait altogether, None for no limit.
    """
    while timeout is not None and timeout > LONGEST_WAIT:
        if any(wait(LONGEST_WAIT)):
            return True
        timeout -= LONGEST_WAIT
    return any(wait(timeout))


def milliseconds(seconds: float | None) -> float | None:
    """A timeout as poll(2) has it."""
    return None if seconds is None else max(0.0, seconds) * 1000


class Readable:
    """`wait_for` bytes, prepared: one thread at a time waits, but often."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.poll = select.poll() if hasattr(select, "poll") and here.fiber_thread is None else None
        if self.poll is not None:
            self.poll.register(sock, select.POLLIN)

    def wait(self, timeout: float | None) -> bool:
        """Whether there is something to read, the end of the stream included, within so many seconds."""
        if self.poll is None:
            return wait_for(self.sock, False, timeout)
        if timeout is None or timeout <= LONGEST_WAIT:  # without a function for each message
            return bool(self.poll.poll(milliseconds(timeout)))
        poll = self.poll
        return wait_in_parts(lambda seconds: poll.poll(milliseconds(seconds)), timeout)


class SocketStream:
    """Bytes to and from a socket, which it owns.

    Args:
        sock: a connected socket.
    """

    at_end = False

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.sock = sock
        self.backlog: list[bytes] = []

    def read(self) -> bytes | None:
        try:
            return self.sock.recv(RECEIVE_SIZE)
        except WOULD_BLOCK:
            return None

    def write(self, chunks: list[bytes]) -> None:
        self.backlog = self.backlog + chunks if self.backlog else chunks

    def push(self) -> bool:
        try:
            while self.backlog:
                sent = self._send()
                if len(self.backlog) == 1 and sent == len(self.backlog[0]):
                    self.backlog = []
                else:
                    self._sent(sent)
        except WOULD_BLOCK:
            return False
        return True

    def _send(self) -> int:
        if len(self.backlog) == 1:
            return self.sock.send(self.backlog[0])
        if hasattr(self.sock, "sendmsg"):
            return self.sock.sendmsg(self.backlog[:VECTORS])
        return self.sock.send(b"".join(self.backlog))

    def _sent(self, n: int) -> None:
        for i, chunk in enumerate(self.backlog):
            if n < len(chunk):
                self.backlog = [memoryview(chunk)[n:], *self.backlog[i + 1 :]]  # type: ignore[list-item]
                return
            n -= len(chunk)
        self.backlog = []

    def end_writing(self) -> None:
        with contextlib.suppress(OSError):  # the peer may be faster
            self.sock.shutdown(socket.SHUT_WR)


class TLSStream:
    """TLS over another stream.

    Args:
        below: the stream that carries the records.
        context: settings of TLS.
        server_side: whether this is the server's end.
        server_hostname: name of the server, as the client knows it.
    """

    def __init__(
        self, below: Stream, context: ssl_module.SSLContext, server_side: bool, server_hostname: str | None
    ) -> None:
        self.below = below
        self.incoming = ssl_module.MemoryBIO()
        self.outgoing = ssl_module.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side, server_hostname)
        self.lock = threading.Lock()
        self.ended = False  # we said goodbye: what the peer says is of no interest, only that its stream ends
        self.peer_ended = False

    @property
    def sock(self) -> socket.socket:
        return self.below.sock

    @property
    def at_end(self) -> bool:
        return self.peer_ended or self.below.at_end

    def handshake(self, deadline: Deadline) -> None:
        """Do the handshake of TLS.

        Raises:
            ssl.SSLError: if it fails.
            TimeoutError: if it takes too long.
        """
        while True:
            try:
                self.object.do_handshake()
                done = True
            except ssl_module.SSLWantReadError:
                done = False
            finally:  # an alert tells the peer why it failed
                self._pass_down()
                push_all(self.below, deadline)
            if done:
                return
            data = read_some(self.below, deadline)
            if not data:
                raise ConnectionResetError("connection closed during the TLS handshake")
            self.incoming.write(data)

    def read(self) -> bytes | None:
        data = self.below.read()
        if data == b"" or self.peer_ended:
            return b""
        if data is None and not self.incoming.pending:
            return None
        with self.lock:
            self.incoming.write(data or b"")  # behind the handshake, something may be there already
            # What OpenSSL wants to answer, such as an update of keys, leaves before the next bytes that we send.
            return self._decrypt() or (b"" if self.peer_ended else None)

    def _decrypt(self) -> bytes:
        chunks: list[bytes] = []
        try:
            while not self.ended and not self.peer_ended:
                chunks.append(self.object.read(RECEIVE_SIZE))
                self.peer_ended = not chunks[-1]
        except ssl_module.SSLWantReadError:
            pass
        return b"".join(chunks)

    def write(self, chunks: list[bytes]) -> None:
        with self.lock:
            for chunk in chunks:
                if chunk:
                    self.object.write(chunk)
            self._pass_down()

    def _pass_down(self) -> None:
        if self.outgoing.pending:
            self.below.write([self.outgoing.read()])

    def push(self) -> bool:
        return self.below.push()

    def end_writing(self) -> None:
        with self.lock:
            self.ended = True
            with contextlib.suppress(ssl_module.SSLError):  # "want read": the peer's goodbye isn't there yet
                self.object.unwrap()
            self._pass_down()
        if self.below.push():
            self.below.end_writing()


class SecureSocket:
    """A socket below TLS that also tells what `ssl.SSLSocket` tells, for those who look at a connection's socket.

    Its methods pass on the bytes of the socket, those below TLS.

    Args:
        sock: the socket.
        tls: the TLS over it.
    """

    def __init__(self, sock: socket.socket, tls: ssl_module.SSLObject) -> None:
        self._sock = sock
        self._tls = tls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls if name in TOLD_OF_TLS else self._sock, name)

    def __repr__(self) -> str:
        return f"<{self._tls.version()} over {self._sock!r}>"


def start_tls(
    stream: Stream,
    ssl: ssl_module.SSLContext | Literal[True] | None,
    deadline: Deadline,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
) -> Stream:
    """Put TLS on a stream; `ssl` gives the settings, True or None those of `ssl.create_default_context`.

    Raises:
        ssl.SSLError: if the handshake of TLS fails.
        TimeoutError: if it takes too long.
    """
    context = ssl_module.create_default_context() if ssl is None or ssl is True else ssl
    secured = TLSStream(stream, context, server_side, server_hostname)
    secured.handshake(deadline)
    return secured


def read_some(stream: Stream, deadline: Deadline) -> bytes:
    """Wait for bytes; b"" at the end of the stream.

    Raises:
        OSError: if the connection is lost.
        TimeoutError: if it takes too long.
    """
    while True:
        data = stream.read()
        if data is not None:
            return data
        wait_for(stream.sock, False, deadline.remaining())


def push_all(stream: Stream, deadline: Deadline) -> None:
    """Wait until all is sent.

    Raises:
        OSError: if the connection is lost.
        TimeoutError: if it takes too long.
    """
    while not stream.push():
        wait_for(stream.sock, True, deadline.remaining())


def shut_down(sock: socket.socket) -> None:
    """End both halves of a connection, and wake every thread that waits for it."""
    with contextlib.suppress(OSError):  # it may be closed, or was never connected
        sock.shutdown(socket.SHUT_RDWR)
