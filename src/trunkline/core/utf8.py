"""UTF-8 of a text message that arrives in pieces (RFC 3629, RFC 6455 section 8.1).

A message is refused at the first byte that cannot continue it, not at its end: a peer that streams garbage is told at
once.
"""

from __future__ import annotations

import codecs

__all__ = ["TextValidator"]


class TextValidator:
    """Checks one text message piece by piece, with the errors that decoding it whole would raise."""

    __slots__ = ("offset", "pending")

    def __init__(self) -> None:
        self.pending = b""  # an incomplete character at the end of the last piece, 3 bytes at most
        self.offset = 0  # where `pending` starts in the message

    def feed(self, piece: bytes, final: bool) -> None:
        """Take the next piece; `final` says that it ends the message.

        Raises:
            UnicodeDecodeError: if the message cannot be UTF-8 any more; `start` and `end` count from its first byte.
        """
        data = self.pending + piece
        try:
            _, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as error:
            raise self._invalid(error.start, error.end, error.reason) from None
        self.pending = data[used:]
        self.offset += used
        if self.pending[:1] == b"\xed" and self.pending[1:] >= b"\xa0":
            # The codec waits for the last byte of a surrogate, which RFC 3629 section 3 forbids.
            raise self._invalid(0, 1, "invalid continuation byte")

    def _invalid(self, start: int, end: int, reason: str) -> UnicodeDecodeError:
        return UnicodeDecodeError("utf-8", b"", self.offset + start, self.offset + end, reason)
