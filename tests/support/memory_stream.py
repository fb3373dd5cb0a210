"""A stream of bytes in memory, between a thread that blocks and an event loop that doesn't."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

CAPACITY = 1 << 16  # bytes on their way in one direction


class Stream:
    """One direction: bytes that wait for the end that reads."""

    def __init__(self) -> None:
        self.data, self.ended, self.cut = bytearray(), False, False

    def put(self, data: Any) -> int:
        """Take as much as there is room for."""
        if self.cut:
            raise ConnectionResetError("the other end is gone")
        taken = min(CAPACITY - len(self.data), len(data))
        self.data += data[:taken]
        return taken

    def get(self, size: int) -> bytes | None:
        """Return bytes that arrived, b"" at the end, None if there are none yet."""
        if self.cut:
            raise ConnectionResetError("the other end is gone")
        data = bytes(self.data[:size])
        del self.data[:size]
        return data if data or self.ended else None


class PeerEnd:
    """The end of a scenario, in place of a socket: it blocks."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.to_us, self.to_carrier = Stream(), Stream()
        self.tell_carrier: Callable[[], object] = lambda: None
        self.timeout: float | None = None
        self.lingers = True

    def settimeout(self, seconds: float | None) -> None:
        self.timeout = seconds

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.lingers = option != socket.SO_LINGER

    def _do(self, step: Callable[[], Any]) -> Any:
        with self.changed:
            while not (done := step()) and done != b"":
                if not self.changed.wait(self.timeout):
                    raise TimeoutError
        self.tell_carrier()
        return done

    def sendall(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._do(partial(self.to_carrier.put, rest)) :]

    def recv(self, size: int) -> bytes:
        received: bytes = self._do(lambda: self.to_us.get(size))
        return received

    def shutdown(self, how: int = socket.SHUT_WR) -> None:
        with self.changed:
            self.to_carrier.ended = True
        self.tell_carrier()

    def close(self) -> None:
        self.to_us.cut = True
        self.to_carrier.cut = self.to_carrier.cut or not self.lingers
        self.shutdown()
