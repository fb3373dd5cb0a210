"""A connection as an ASGI application sees it, message by message: the compiled half of it.

No coroutine and no queue stand between the application and the connection. `receive_event` returns the awaitable of
`recv()`, which wraps what it takes from the inbox. `send_event` puts the frame, and returns the awaitable of `send()`.
All that happens once in a connection is in connection.py.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from trunkline.asyncio.awaitables import Waiter, mark_coroutine_functions
from trunkline.asyncio.coroutines import fail
from trunkline.asyncio.link import Link
from trunkline.asyncio.receiving import Receive
from trunkline.core.session import Session
from trunkline.core.writer import as_payload

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from trunkline.asgi.connection import Stage
    from trunkline.core import _cython as cython
    from trunkline.core.session import Side
    from trunkline.frames import CloseCode
    from trunkline.handshake.server import ServerHandshake
    from trunkline.http11 import Response
    from trunkline.options import Options
    from trunkline.typing import LoggerLike
else:
    try:
        import cython
    except ImportError:
        from trunkline.core import _cython as cython

if cython.compiled:
    from cython.cimports.cpython.pythread import PyThread_get_thread_ident as get_ident
    from cython.cimports.trunkline.asyncio.receiving import receive
    from cython.cimports.trunkline.core.opcodes import BINARY, TEXT
    from cython.cimports.trunkline.core.phases import CONNECTING, OPEN
    from cython.cimports.trunkline.core.signature import sign
else:
    from threading import get_ident

    from trunkline.asyncio.receiving import receive
    from trunkline.core.opcodes import BINARY, TEXT
    from trunkline.core.phases import CONNECTING, OPEN

__all__ = ["ASGILink", "Event", "message_of"]

Event = dict[str, Any]


@cython.ccall
def message_of(event: dict) -> object:  # type: ignore[type-arg]
    """The message of a `websocket.send` event: str or bytes.

    Raises:
        TypeError: if it has none, or one of another type.
    """
    message: object = event.get("bytes")
    if message is not None:
        if isinstance(message, bytes):
            return message
        if isinstance(message, str):
            raise TypeError("'bytes' of a 'websocket.send' event is a str: use 'text', or encode it")
        return as_payload(message)
    message = event.get("text")
    if not isinstance(message, str):
        raise TypeError(f"a 'websocket.send' event needs 'bytes', or 'text' that is a str, not {message!r}")
    return message


@cython.cclass
class ASGILink(Link):
    """The part of an ASGI connection that is called for each message, and the fields of the rest."""

    if TYPE_CHECKING:
        app: Any
        server: Any
        scope: dict[str, Any] | None
        stage: Stage
        handshake: ServerHandshake | None
        acceptance: Response | None
        refusal: Response | None
        decided: asyncio.Future[None] | None
        task: asyncio.Task[Any] | None
        farewell: tuple[CloseCode | int, str]
        on_server_closing: Callable[[], None] | None
        goodbye: bool

    def __init__(self, protocol: Side, options: Options | None = None, logger: LoggerLike | None = None) -> None:
        super().__init__(protocol, options, logger)
        self.connect_told = False  # the application has its `websocket.connect`
        self.waiting_receivers: list[Waiter] | None = None

    def receive_event(self) -> Coroutine[Any, Any, Event]:
        """`receive` of ASGI: the next event. Canceling loses nothing; several tasks have their turns in order."""
        if self.connect_told and self.session.phase != CONNECTING:
            return receive(self, False, False, True)
        return self.receive_early()

    def send_event(self, event: Mapping[str, Any]) -> Coroutine[Any, Any, None]:
        """`send` of ASGI. A message is on its way when the call returns; errors are raised where it is awaited.

        Raises:
            OSError: if the client is gone.
            RuntimeError: if such an event can't come now.
            TypeError: if a message is neither str nor bytes-like.
        """
        session: Session = self.session
        if (
            session.phase != OPEN
            or self.writing_paused
            or self.fragmenting is not None
            or self.thread != get_ident()
            or type(event) is not dict
            or event["type"] != "websocket.send"
        ):
            return self.send_other(event)
        try:
            message: Any = message_of(event)
            session.send(TEXT if isinstance(message, str) else BINARY, message)
        except Exception as error:  # it isn't UTF-8, or an extension failed
            return fail(error)
        self._flush_unless_held()
        if self.writing_paused:
            return self.until_writable()
        return self._when_taken()  # type: ignore[no-any-return]

    def connection_made(self, transport: Any) -> None:
        if self.transport is None:  # the application server hands it over, and keeps its limits
            self.transport = transport
        else:  # the reactor takes over
            self.transport = transport
            transport.set_write_buffer_limits(*self.options.write_marks)

    def data_received(self, data: bytes) -> None:
        if self.session.phase == CONNECTING:
            self.receive_handshake(data)
        else:
            self.receive_data(data)

    def end_refused(self) -> None:
        """A response that opens no connection was sent: let the client close.

        Closing with unread data resets the connection, and the client may never see the response: end our half only.
        """
        if self.carrier.can_half_close():
            self.carrier.end()
            self.carrier.resume()
            self.drop_after(self.options.close_timeout or 10)
        else:
            self.carrier.end()

    # Added by `ASGIConnection`

    def receive_handshake(self, data: bytes) -> None:
        """Bytes of the opening handshake."""
        raise NotImplementedError

    def receive_early(self) -> Coroutine[Any, Any, Event]:
        """`receive_event` before the application has accepted."""
        raise NotImplementedError

    def send_other(self, event: Mapping[str, Any]) -> Coroutine[Any, Any, None]:
        """`send_event` for all but a message that can leave at once."""
        raise NotImplementedError

    def until_writable(self) -> Coroutine[Any, Any, None]:
        """Wait for the client to read; OSError if it is gone."""
        raise NotImplementedError

    def disconnect_event(self) -> Event:
        """The event that tells how the connection ended."""
        raise NotImplementedError

    # For `Receive`

    @cython.cfunc
    def event_of(self, message: object) -> object:
        self.call_next_in_line()
        if isinstance(message, str):
            return {"type": "websocket.receive", "text": message}
        return {"type": "websocket.receive", "bytes": message}

    @cython.cfunc
    def last_event(self) -> object:
        self.call_next_in_line()
        return self.disconnect_event()

    @cython.cfunc
    def wait_in_line(self, receiver: Receive) -> None:
        if self.waiting_receivers is None:
            self.waiting_receivers = []
        self.waiting_receivers.append(receiver)

    @cython.cfunc
    def call_next_in_line(self) -> None:
        if self.waiting_receivers is None or self.receiver is not None:
            return
        waiting, self.waiting_receivers = self.waiting_receivers, None
        waiter: Waiter
        for waiter in waiting:  # the first one takes its place, the others come back here
            waiter.wake_soon()


mark_coroutine_functions(ASGILink.receive_event, ASGILink.send_event)
if cython.compiled:
    sign(ASGILink, b"protocol, options=None, logger=None")
