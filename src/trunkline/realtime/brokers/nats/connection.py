"""A connection to NATS: the commands of a turn of the event loop leave in one write."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, cast

from trunkline.realtime.brokers.nats.protocol import (
    PING,
    PONG,
    Error,
    Event,
    Info,
    Message,
    Parser,
    Ping,
    Pong,
    ProtocolError,
    publish,
    subscribe,
    unsubscribe,
)
from trunkline.realtime.brokers.wire import ConnectionLost, Wire, fail

__all__ = ["Batch", "Connection", "NatsError"]

logger = logging.getLogger("trunkline.realtime")

ANSWERS: Final = 1  # number of the subscription to answers
TOGETHER: Final = 64  # commands of one turn, before callers without an answer wait for the next
FULL: Final = 1 << 20  # bytes that may wait in the transport


class NatsError(Exception):
    """The server refuses: `-ERR`."""


class Batch(NamedTuple):
    """Several answers to one request, and the message that ends them."""

    messages: list[Message]
    end: Message


class Connection(Wire):
    """A connection that speaks the protocol of NATS.

    Args:
        on_messages: called with what was published on subjects, all that came together.
        on_lost: as for `Wire`.
        on_info: called when the server says something new of itself.

    Attributes:
        info: what the server said of itself.
    """

    def __init__(
        self,
        on_messages: Callable[[list[Message]], None],
        on_lost: Callable[[Connection], None] = lambda _: None,
        on_info: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        super().__init__(on_lost)
        self._on_messages = on_messages
        self._on_info = on_info
        self._parser = Parser()
        self._pings: deque[asyncio.Future[None]] = deque()
        self._inbox = b"_INBOX." + secrets.token_hex(9).encode()
        self._number = 0  # of the newest request
        self._requests: dict[int, Callable[[Message | str], None]] = {}  # takes an answer, or why none comes
        self._writable: asyncio.Future[None] | None = None
        self.info: dict[str, Any] = {}
        self.greeted: asyncio.Future[None] = self._loop.create_future()

    @property
    def transport(self) -> asyncio.Transport | None:
        """The transport below."""
        return self._transport

    # Commands

    def send(self, command: bytes) -> None:
        """Send a command, if the connection hasn't ended."""
        self._write(command)

    def listen_for_answers(self) -> None:
        """Subscribe to the answers of requests."""
        self.send(subscribe(self._inbox + b".*", ANSWERS))

    def subscribe(self, subject: bytes, sid: int) -> None:
        """Deliver the messages of a subject."""
        self.send(subscribe(subject, sid))

    def unsubscribe(self, sid: int) -> None:
        """Deliver them no more."""
        self.send(unsubscribe(sid))

    async def publish(self, subject: bytes, payload: bytes) -> None:
        """Publish without an answer; returns when there is room for more.

        Raises:
            ConnectionLost: if the connection has ended already.
        """
        if self.lost.done():
            raise ConnectionLost(self.lost.result())
        self.send(publish(subject, payload))
        if self._writable is not None:
            await asyncio.shield(self._writable)
        elif len(self._commands) >= TOGETHER:
            await asyncio.sleep(0)

    def ping(self) -> asyncio.Future[None]:
        """A future that is done when everything that the server has sent up to now has arrived."""
        pong: asyncio.Future[None] = self._loop.create_future()
        if self.lost.done():
            fail(pong, self.lost.result())
        else:
            self._pings.append(pong)
            self.send(PING)
        return pong

    def request(self, subject: bytes, payload: bytes, headers: bytes = b"") -> asyncio.Future[Message]:
        """Publish, and wait for one answer."""
        answer: asyncio.Future[Message] = self._loop.create_future()

        def take(message: Message | str) -> None:
            if isinstance(message, str):
                fail(answer, message)
            elif not answer.done():
                answer.set_result(message)

        self._ask(subject, payload, headers, take, answer)
        return answer

    def collect(self, subject: bytes, payload: bytes) -> asyncio.Future[Batch]:
        """Publish, and wait for any number of answers; one with a status ends them."""
        answer: asyncio.Future[Batch] = self._loop.create_future()
        messages: list[Message] = []

        def take(message: Message | str) -> None:
            if isinstance(message, str):
                fail(answer, message)
            elif not message.status:
                messages.append(message)
            elif not answer.done():
                answer.set_result(Batch(messages, message))

        self._ask(subject, payload, b"", take, answer)
        return answer

    def _ask(
        self,
        subject: bytes,
        payload: bytes,
        headers: bytes,
        take: Callable[[Message | str], None],
        answer: asyncio.Future[Any],
    ) -> None:
        if self.lost.done():
            fail(answer, self.lost.result())
            return
        self._number = number = self._number + 1
        self._requests[number] = take
        answer.add_done_callback(lambda _: self._requests.pop(number, None))
        self.send(publish(subject, payload, b"%b.%d" % (self._inbox, number), headers))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        cast(asyncio.Transport, transport).set_write_buffer_limits(FULL)

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def data_received(self, data: bytes) -> None:
        self.received += 1
        try:
            events = self._parser.feed(data)
        except ProtocolError as error:
            self.abort(f"it doesn't speak the protocol of NATS: {error}")
            return
        messages: list[Message] = []
        for event in events:
            if not isinstance(event, Message):
                self._on_event(event)
            elif event.sid == ANSWERS:
                if messages:  # they came before the answer
                    self._on_messages(messages)
                    messages = []
                self._answer(event)
            else:
                messages.append(event)
        if messages:
            self._on_messages(messages)

    def _on_event(self, event: Event) -> None:
        match event:
            case Ping():
                self.send(PONG)
            case Pong() if self._pings:
                if not (pong := self._pings.popleft()).done():
                    pong.set_result(None)
            case Pong():
                self.abort("it answered PONG to no PING")
            case Info(fields):
                self.info = self.info | fields
                if not self.greeted.done():
                    self.greeted.set_result(None)
                self._on_info(self)
            case Error(text):
                self._complain(text)

    def _complain(self, text: str) -> None:
        """Of most errors the server ends the connection."""
        if text.startswith(("Permissions Violation", "Invalid Subject", "Invalid Publish Subject")):
            logger.error("NATS at %s refuses: %s", self.info.get("server_name", "?"), text)
            for pong in self._pings:  # the caller that subscribed waits for it
                if not pong.done():
                    pong.set_exception(NatsError(text))
                    pong.exception()
        else:
            self._why = self._why or text

    def _answer(self, message: Message) -> None:
        number = message.subject.rpartition(b".")[2]
        take = self._requests.get(int(number)) if number.isdigit() else None
        if take is not None:
            take(message)

    def connection_lost(self, error: Exception | None) -> None:
        self.resume_writing()
        super().connection_lost(error)

    def _give_up(self, why: str) -> None:
        fail(self.greeted, why)
        for pong in self._pings:
            fail(pong, why)
        self._pings.clear()
        for take in list(self._requests.values()):
            take(why)
        self._requests.clear()
