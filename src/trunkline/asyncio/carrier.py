"""Carries a connection over any transport of an event loop."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

from trunkline.asyncio.shared import Shared
from trunkline.endpoint.carrier import Carrier

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

__all__ = ["TransportCarrier"]

# CVE-2024-12254: here writelines() of asyncio's own transports never calls pause_writing(), so nothing limits memory.
WRITELINES_NEVER_PAUSES = (3, 12) <= sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)


@cython.final
@cython.cclass
class TransportCarrier(Carrier):
    """Carries a connection, which is the protocol of the transport: so the transport calls the connection itself.

    Args:
        shared: what the connections on its event loop have in common.
        transport: an `asyncio.Transport`.
    """

    def __init__(self, shared: Shared, transport: Any) -> None:
        self.shared = shared
        self.transport = transport
        # Programs put objects around a transport, to record or drop bytes: these may have a `write` of their own only.
        self.gathers = not WRITELINES_NEVER_PAUSES and hasattr(type(transport), "writelines")

    def send(self, chunks: list[bytes], last: bool) -> Exception | None:
        return self.carry(chunks, last)  # type: ignore[return-value]  # an exception or None

    @cython.cfunc
    def carry(self, chunks: list, last: cython.bint) -> object:  # type: ignore[type-arg]
        try:
            if self.gathers and len(chunks) > 1:
                self.transport.writelines(chunks)
            else:
                self.transport.write(b"".join(chunks))
            if self.transport.is_closing():
                self._note_closing()
        except Exception as error:
            return error
        return None

    def _note_closing(self) -> None:
        """The transport is lost, and drops what it is given until it says so; or we have ended it ourselves."""
        if not self.life.eof_sent:
            self.life.writing_paused = True

    def end(self) -> None:
        if self.life.session.eof_received or not self.transport.can_write_eof():
            self.transport.close()
        else:
            with contextlib.suppress(OSError):  # the peer has cut the connection: `connection_lost` comes
                self.transport.write_eof()

    def can_half_close(self) -> bool:
        return bool(self.transport.can_write_eof())

    def pause(self) -> None:
        self.transport.pause_reading()

    def resume(self) -> None:
        self.transport.resume_reading()

    def abort(self) -> None:
        self.transport.abort()

    def backlog(self) -> int:
        size: int = self.transport.get_write_buffer_size()
        return size

    def wake_at(self, deadline: float) -> float:
        return self.shared.wake_at(self.life, deadline)

    def fact(self, name: str) -> Any:
        return self.transport if name == "transport" else self.transport.get_extra_info(name)
