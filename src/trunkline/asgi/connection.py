"""A connection as an ASGI application sees it: what happens once in it. The application server adds the request.

The application decides about a request by the first event that it sends. An `ASGIConnection` goes through `Stage`s
until it is accepted. From then on it is a `Connection` like any other, and `link.py` carries its messages.
"""

from __future__ import annotations

import asyncio
import enum
import http
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from trunkline.asgi.link import ASGILink, Event, message_of
from trunkline.asyncio import engine as engines
from trunkline.asyncio.connection import Connection
from trunkline.asyncio.link import Link
from trunkline.core.session import Side, State
from trunkline.datastructures import Headers
from trunkline.exceptions import ConnectionClosed, InvalidHandshake
from trunkline.extensions.base import ServerExtensionFactory
from trunkline.frames import CloseCode
from trunkline.handshake.headers import parse_subprotocol
from trunkline.handshake.log import explain
from trunkline.handshake.server import ServerHandshake
from trunkline.http11 import Request, Response
from trunkline.options import Options
from trunkline.typing import LoggerLike, Subprotocol

__all__ = ["ASGIConnection", "ClientDisconnectedError", "Stage"]

EXTENSION = "trunkline"
"""Key in the extensions of the scope under which an application finds its connection."""

RawHeaders = Iterable[tuple[bytes, bytes]]

# Only the handshake says these. ASGI: the headers "must not include a header named sec-websocket-protocol".
RESERVED = frozenset({"connection", "upgrade", "sec-websocket-accept", "sec-websocket-extensions",
                      "sec-websocket-protocol"})  # fmt: skip


FAREWELL = (CloseCode.SERVICE_RESTART, "")


class ClientDisconnectedError(OSError):
    """The client is gone, or is leaving: ASGI wants an OSError for what is sent to it."""


class Stage(enum.Enum):
    """How far the application is with its decision about a request."""

    UNDECIDED, RESPONDING, REFUSED, ACCEPTED = range(4)


class ASGIConnection(ASGILink, Connection):
    """A server's end of a WebSocket connection whose handler is an ASGI application.

    Args:
        app: the application.
        options: timeouts and limits.
        logger: for what the application did wrong.
        extensions: factories of the extensions to accept.

    Attributes:
        disconnected: class of the exception for what is sent to a client that is gone.
        engine: "auto" lets the reactor carry the connection where it runs, "transports" leaves it to the server.
        stage: how far the application is with its decision.
        farewell: close code and reason for it when the server shuts down.
        on_server_closing: called without arguments when the server shuts down; None by default.
    """

    disconnected: ClassVar[type[OSError]] = ClientDisconnectedError
    engine: ClassVar[engines.Engine] = "auto"

    def __init__(
        self,
        app: Any,
        options: Options,
        logger: LoggerLike | None = None,
        extensions: list[ServerExtensionFactory] | None = None,
    ) -> None:
        super().__init__(Side.SERVER, options, logger)
        self.app = app
        self.server = None  # the application server's own
        self.scope = None  # until the request is answered
        self.stage = Stage.UNDECIDED
        self.handshake = ServerHandshake(extensions=extensions)
        self.acceptance = None  # the answer of the handshake, if the application accepts
        self.refusal = None  # the head of the application's response, until it is sent
        self.goodbye = False  # the application has refused or closed: it must send no more
        self.decided = None
        self.task = None
        self.farewell = FAREWELL
        self.on_server_closing = None

    # Added by the application server

    def default_headers(self) -> RawHeaders:
        """Headers of every response."""
        return ()

    def received(self, request: Request) -> None:
        """A valid request is there: make a scope, and call `run` or `refuse`."""
        raise NotImplementedError

    def log_answer(self, answer: str) -> None:
        """Log what a request was answered with: a status, or "[accepted]"."""

    # asyncio.Protocol

    def receive_handshake(self, data: bytes) -> None:
        if self.stage is Stage.REFUSED or self.handshake is None:
            return
        if self.acceptance is not None:
            # Frames before our answer: keep them, but no more of them.
            self.transport.pause_reading()
            self.handshake.receive_data(data)
            return
        try:
            request = self.handshake.receive_data(data)
        except InvalidHandshake as error:
            self.refuse(self.handshake.refuse(error))
            return
        if request is None:
            return
        self.request = request
        response = self.handshake.accept(request)
        if self.handshake.exception is not None:
            self.base_logger.info("opening handshake failed: %s", explain(self.handshake.exception))
            self.refuse(response)
        else:
            self.acceptance = response
            self.received(request)

    def connection_lost(self, error: BaseException | None) -> None:
        super().connection_lost(error)
        self._tell_decided()

    def attend(self) -> None:
        super().attend()
        if self.receiver is not None and self.session.state is not State.OPEN:
            self.receiver.wake_soon()  # an application is told of the end before TCP has ended

    # The application

    def run(self, scope: dict[str, Any], context: Any = None) -> asyncio.Task[None]:
        """Call the application, in a task of its own, with nothing around it that each message would have to pass."""
        handling = self.app(scope, self.receive_event, self.send_event)
        if not asyncio.iscoroutine(handling):
            handling = _wait_for(handling)
        self.task = task = self.loop.create_task(handling, context=context)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """The application has returned: finish what it left undone."""
        self.task = None
        if task.cancelled():
            pass  # the server has said so
        elif (error := task.exception()) is not None:
            self._failed(error)
        elif self.stage is Stage.UNDECIDED and not self.lost:
            self.base_logger.error("ASGI callable returned without completing handshake.")
        elif task.result() is not None:
            self.base_logger.error("ASGI callable should return None, but returned '%s'.", task.result())
        if self.stage is Stage.UNDECIDED:
            self.fail_request()
        elif self.stage is Stage.RESPONDING:
            self._respond(b"", True)
        elif self.session.state is State.OPEN:
            self.session.cut(self.clock())
            self.attend()

    def _failed(self, error: BaseException) -> None:
        gone = isinstance(error, ConnectionClosed) and self.session.state is not State.OPEN
        if not gone and not isinstance(error, self.disconnected):
            self.base_logger.error("Exception in ASGI application\n", exc_info=error)

    # receive()

    async def receive_early(self) -> Event:
        """The events before the application has accepted, and after it has refused."""
        if not self.connect_told:
            self.connect_told = True
            return {"type": "websocket.connect"}
        if self.stage in (Stage.UNDECIDED, Stage.RESPONDING) and not self.lost:
            if self.decided is None:
                self.decided = self.loop.create_future()
            await asyncio.shield(self.decided)
        return await self.receive_event() if self.stage is Stage.ACCEPTED else self.disconnect_event()

    def _tell_decided(self) -> None:
        if self.decided is not None and not self.decided.done():
            self.decided.set_result(None)

    def disconnect_event(self) -> Event:
        """The event that tells how the connection ended: the close code is that of the side that closed first."""
        session = self.session
        close = session.close_rcvd if session.close_rcvd_then_sent else session.close_sent
        if self.stage is not Stage.ACCEPTED or close is None:
            return {"type": "websocket.disconnect", "code": int(CloseCode.ABNORMAL_CLOSURE)}
        event = {"type": "websocket.disconnect", "code": int(close.code)}
        if close.reason or close is session.close_rcvd or self.goodbye:
            event["reason"] = close.reason
        return event

    # send()

    async def send_other(self, event: Mapping[str, Any]) -> None:
        """An event that is no message, or a message that can't leave at once."""
        kind = event["type"]
        if self.stage is Stage.ACCEPTED:
            await self._send_open(kind, dict(event))
        elif self.stage is Stage.RESPONDING:
            _expect(kind, "websocket.http.response.body")
            self._respond(event.get("body", b""), not event.get("more_body", False))
            await self.until_writable()
        elif self.stage is Stage.REFUSED or self.session.state is not State.CONNECTING:
            raise self._too_late(kind)
        elif kind == "websocket.accept":
            self.accept(event.get("subprotocol"), event.get("headers") or ())
        elif kind == "websocket.close":
            self.goodbye = True
            self.log_answer("403")
            self.refuse(self._handshake.reject(http.HTTPStatus.FORBIDDEN, ""))
        else:
            _expect(kind, "websocket.accept", "websocket.close", "websocket.http.response.start")
            self._start_response(event["status"], event.get("headers") or ())

    async def _send_open(self, kind: str, event: Event) -> None:
        if kind == "websocket.close" and not self.goodbye:
            if self.session.state is State.OPEN:
                code = event.get("code")
                self.start_closing(CloseCode.NORMAL_CLOSURE if code is None else code, event.get("reason") or "")
                self.goodbye = True
            return  # a client that closes at the same time is no fault of the application
        _expect(kind, "websocket.send", "websocket.close")
        message: Any = message_of(event)
        await self.until_writable()
        if self.session.state is not State.OPEN:
            raise self._too_late(kind)
        try:
            await Link.send(self, message)
        except ConnectionClosed as closed:
            raise self.disconnected(str(closed)) from closed

    async def until_writable(self) -> None:
        """Wait for the client to read; OSError if it is gone."""
        try:
            while self.writing_paused and not self.goodbye:
                await self.drain()
        except ConnectionClosed as closed:
            raise self.disconnected(str(closed)) from closed

    def _too_late(self, kind: str) -> Exception:
        if self.goodbye:
            return RuntimeError(f"Unexpected ASGI message '{kind}', after sending 'websocket.close'.")
        return self.disconnected("the client is gone")

    # The decision

    @property
    def _handshake(self) -> ServerHandshake:
        assert self.handshake is not None, "it is there until the connection is accepted"
        return self.handshake

    def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """Open the connection.

        Raises:
            ValueError: if the client didn't offer the subprotocol, or a header can't be sent. Nothing is sent then.
        """
        handshake, response = self._handshake, self.acceptance
        assert response is not None, "a request was received"
        if subprotocol is not None:
            self._check_offered(subprotocol)
        head = Response(response.status_code, response.reason_phrase, Headers())
        for name, value in response.headers.raw_items():
            if name != "Date":  # the application server has its own
                head.headers.set_insecure(name, value)
        _add(head.headers, self.default_headers())
        for name_as_bytes, value_as_bytes in headers:
            name = name_as_bytes.decode("iso-8859-1")
            if name.lower() in RESERVED:
                raise ValueError(f"the header {name} is up to the handshake: use 'subprotocol', and leave it out")
            head.headers[name] = value_as_bytes.decode("iso-8859-1")
        if subprotocol is not None:
            head.headers.set_insecure("Sec-WebSocket-Protocol", subprotocol)
        self._open(handshake.serialize(head), subprotocol)

    def _check_offered(self, subprotocol: str) -> None:
        """RFC 6455 section 4.2.2, item 5: the server's choice must be one of the client's offers."""
        offers = self.offered_subprotocols()
        if subprotocol not in offers:
            raise ValueError(f"the application accepts the subprotocol {subprotocol!r}; the client offered {offers!r}")

    def offered_subprotocols(self) -> list[Subprotocol]:
        """Those that the client offers, in its order."""
        if self.request is None:
            return []
        headers = self.request.headers.get_all("Sec-WebSocket-Protocol")
        return [subprotocol for header in headers for subprotocol in parse_subprotocol(header)]

    def _open(self, head: bytes, subprotocol: str | None) -> None:
        handshake = self._handshake
        self.log_answer("[accepted]")
        self._adopt()
        self.transport.write(head)
        self.transport.resume_reading()
        # Idle connections should be small: heads are parsed again when a program asks.
        self.request, self.response = handshake.head, head  # type: ignore[assignment]
        self.handshake = self.acceptance = None
        self.stage = Stage.ACCEPTED
        self.start(subprotocol, handshake.extensions, handshake.remaining)
        self._tell_decided()

    def _adopt(self) -> None:
        """Let the reactor carry the connection, once the transport is ours.

        An eager task accepts while the application server has not yet told the transport of us.
        """
        if self.transport.get_protocol() is self:
            engines.adopt(self, self.transport, self.engine)
        else:
            self.loop.call_soon(self._adopt_late)

    def _adopt_late(self) -> None:
        if self.session.state is State.OPEN:
            engines.adopt(self, self.transport, self.engine)

    # Refusals

    def refuse(self, response: Response) -> None:
        """Answer the request with a response of ours."""
        self.stage = Stage.REFUSED
        if "Date" in response.headers:
            del response.headers["Date"]
        _add(response.headers, self.default_headers())
        self.response = response
        self.transport.write(self._handshake.serialize(response))
        self.end_refused()
        self._tell_decided()

    def fail_request(self) -> None:
        """The application failed before it has decided."""
        if not self.lost:
            self.refuse(self._handshake.reject(http.HTTPStatus.INTERNAL_SERVER_ERROR, "Internal Server Error"))

    def _start_response(self, status: int, headers: RawHeaders) -> None:
        """Keep the head until the length of the body is known, if the first part of it is all."""
        if not 200 <= status < 600:
            raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
        response = Response(status, _phrase(status), Headers())
        _add(response.headers, headers)
        own = {name.lower() for name in response.headers}
        _add(response.headers, [pair for pair in self.default_headers() if pair[0].decode().lower() not in own])
        response.headers.setdefault("Connection", "close")
        self.refusal = response
        self.stage = Stage.RESPONDING
        self.log_answer(str(status))

    def _respond(self, body: bytes, last: bool) -> None:
        """Send a part of the body. Without Content-Length it ends with the connection (RFC 9112 section 6.3)."""
        if self.lost:
            return
        response, self.refusal = self.refusal, None
        if response is not None:
            if last:
                response.headers.setdefault("Content-Length", str(len(body)))
            response.body = body
            self.response = response
            body = self._handshake.serialize(response)
        if body:
            self.transport.write(body)
        if last:
            self.goodbye = True
            self.stage = Stage.REFUSED
            self.end_refused()
            self._tell_decided()


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


def _expect(kind: str, *expected: str) -> None:
    """Raise the error for an event that can't come now."""
    if kind not in expected:
        *others, last = map(repr, expected)
        either = f"{', '.join(others)} or {last}" if others else last
        raise RuntimeError(f"Expected ASGI message {either} but got {kind!r}.")


def _add(headers: Headers, pairs: RawHeaders) -> None:
    """Add headers as ASGI has them; `Headers` raises for what can't be sent."""
    for name, value in pairs:
        headers[name.decode("iso-8859-1")] = value.decode("iso-8859-1")


def _phrase(status: int) -> str:
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return ""
