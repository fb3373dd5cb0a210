"""The contract between a connection and the thing that carries its bytes, for every driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trunkline.core import _cython as cython
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

__all__ = ["Carrier"]


@cython.cclass
class Carrier:
    """Carries the bytes of one connection in both directions, in order, without a look at them.

    A carrier calls its `Life`:

    - `receive_data` and `receive_eof` for each read;
    - `pause_writing` when it holds more than the write limit, and `resume_writing` when it has room again;
    - `on_due` at the time of `wake_at`;
    - `lose` once, at the end. Nothing follows it.

    No method waits, and none raises for what the peer or the network did: that is what `lose` is for.

    Attributes:
        life: the connection; None after `lose`, so that no cycle of references keeps the two.
    """

    if not cython.compiled:
        life: Any = None

    def send(self, chunks: list[bytes], last: bool) -> Exception | None:
        """Send all chunks, in order. Bytes that the network doesn't take at once are kept.

        Args:
            chunks: bytes objects; the carrier may keep the list, and must not change it.
            last: `end` follows at once, so that the end of the stream can leave in the same packet.

        Returns:
            None, or the exception for which nothing can be sent any more; `lose` follows.
        """
        raise NotImplementedError

    @cython.cfunc
    def carry(self, chunks: list, last: cython.bint) -> object:  # type: ignore[type-arg]
        """`send` for a compiled carrier to override: it saves the look-up."""
        return self.send(chunks, last)

    def end(self) -> None:
        """End our half of the stream behind all that was sent.

        End both halves where the peer has ended its own, and where one half can't end alone.
        """
        raise NotImplementedError

    def can_half_close(self) -> bool:
        """Whether one half can end alone: with TLS it can't (RFC 8446 section 6.1)."""
        return True

    def pause(self) -> None:
        """Read no more, so that the network holds the peer back."""
        raise NotImplementedError

    def resume(self) -> None:
        """Read again. Before the end of the stream this may be called at any time, also while nothing is paused."""
        raise NotImplementedError

    def abort(self) -> None:
        """Give up what waits to leave, and end both halves now; `lose` follows."""
        raise NotImplementedError

    def backlog(self) -> int:
        """Bytes that were sent and that the network has not taken yet."""
        raise NotImplementedError

    def wake_at(self, deadline: float) -> float:
        """Call `on_due` at a time; this replaces an earlier one.

        Args:
            deadline: on the clock of the life.

        Returns:
            When the call will be: at `deadline`, or a little later. `on_due` is given this value.
        """
        raise NotImplementedError

    def fact(self, name: str) -> Any:
        """Something that the carrier knows of itself, None if it doesn't.

        Args:
            name: as for `asyncio.BaseTransport.get_extra_info`: "sockname", "peername", "socket", "ssl_object".
        """
        return None
