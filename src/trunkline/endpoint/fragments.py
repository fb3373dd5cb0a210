"""Messages that leave or arrive in fragments (RFC 6455 section 5.4)."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping

from trunkline.core.inbox import Fragment, convert
from trunkline.core.opcodes import BINARY, CONTINUATION, TEXT
from trunkline.core.phases import OPEN
from trunkline.core.session import Session
from trunkline.core.writer import as_payload
from trunkline.frames import CloseCode
from trunkline.typing import Data, DataLike

__all__ = ["FragmentDecoder", "FragmentedMessage"]


class FragmentedMessage:
    """Sends a message of which the caller gives fragments, one after the other (RFC 6455 section 5.4).

    Which fragment is the last one is known too late to say so in it: an empty one ends the message. Without fragments
    nothing is sent.
    """

    def __init__(self, session: Session, text: bool | None, compress: bool | None) -> None:
        self.session = session
        self.text = text
        self.compress = compress
        self.opcode = CONTINUATION

    @staticmethod
    def check(message: object) -> None:
        """Refuse what is neither a message nor fragments of one.

        Raises:
            TypeError: if that is so.
        """
        if isinstance(message, Mapping):
            raise TypeError("a message can't be a dict: did you mean send_json()?")
        if not isinstance(message, Iterable) and not hasattr(message, "__aiter__"):
            raise TypeError(
                f"a message is a str, bytes-like, or an iterable of one of them, not {type(message).__name__}"
            )

    def add(self, fragment: DataLike) -> None:
        """Send a fragment.

        Raises:
            ConnectionClosed: if the connection isn't open any more.
            TypeError: if it is no str or bytes-like, or not of the type of those before it.
        """
        if isinstance(fragment, str):
            payload, opcode = fragment.encode(), TEXT if self.text is None or self.text else BINARY
        else:
            payload, opcode = as_payload(fragment), TEXT if self.text else BINARY
        if self.opcode not in (CONTINUATION, opcode):
            raise TypeError("all fragments of a message must be of one type, all str or all bytes-like")
        self._check_open()
        if self.opcode == CONTINUATION:
            self.session.send(opcode, payload, False, self.compress)
            self.opcode = opcode
        else:
            self.session.send(CONTINUATION, payload, False)

    def finish(self) -> None:
        """Send the end of the message.

        Raises:
            ConnectionClosed: if the connection isn't open any more.
        """
        if self.opcode != CONTINUATION:
            self._check_open()
            self.session.send(CONTINUATION, b"", True)

    def abandon(self, error: BaseException, now: float) -> bool:
        """The rest will not come. The peer can't tell that the message ended here, so nothing can follow it.

        Returns:
            Whether that failed the connection.
        """
        if self.opcode == CONTINUATION or self.session.phase != OPEN:
            return False
        self.session.fail(CloseCode.INTERNAL_ERROR, "error in fragmented message", now, error)
        return True

    def _check_open(self) -> None:
        if self.session.phase != OPEN:
            raise self.session.close_exception()


class FragmentDecoder:
    """Gives the fragments of a message as `recv_streaming(decode=...)` wants them.

    Args:
        decode: True gives str, False bytes; None goes by the type of the message.
    """

    def __init__(self, decode: bool | None) -> None:
        self.decode = decode
        self.decoder: codecs.IncrementalDecoder | None = None
        self.begun = False
        self.done = False

    def convert(self, item: str | bytes | Fragment) -> Data:
        """One fragment, or a whole message.

        Raises:
            UnicodeDecodeError: if str is wanted and it isn't UTF-8.
        """
        if not isinstance(item, Fragment):
            self.done = True
            return convert(item, self.decode)
        if not self.begun and (self.decode or (self.decode is None and item.text)):
            self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.begun = True
        self.done = item.fin
        return item.data if self.decoder is None else self.decoder.decode(item.data, item.fin)
