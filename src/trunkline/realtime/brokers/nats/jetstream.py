"""Streams of NATS: what is published to their subjects is kept. https://docs.nats.io/nats-concepts/jetstream"""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec

from trunkline.realtime.brokers.base import BrokerError, Uncertain
from trunkline.realtime.brokers.nats.connection import Connection
from trunkline.realtime.brokers.nats.link import NatsLink
from trunkline.realtime.brokers.nats.protocol import Message
from trunkline.realtime.brokers.wire import ConnectionLost

__all__ = [
    "NAME_IN_USE",
    "WRONG_LAST",
    "JetStream",
    "JetStreamError",
    "Missing",
    "api",
    "check_room",
    "last_message",
    "milliseconds_of",
    "number_of",
    "time_of",
]

T = TypeVar("T")

PAUSE: Final = 0.1  # seconds before a request is repeated that the server can't carry out yet
ANSWER: Final = 4.0  # seconds that the server has to answer one request
TOGETHER: Final = 1000  # messages that one request reads
BYTES: Final = 4 << 20  # and bytes, about
HEADERS: Final = 200  # bytes at most of what comes with a message of ours

# https://github.com/nats-io/nats-server/blob/main/server/errors.json
NO_MESSAGE: Final = 10037
NAME_IN_USE: Final = 10058
WRONG_LAST: Final = frozenset({10071, 10164})  # another message came first
NOT_YET: Final = frozenset(
    {10008, 10009, 10023, 10074, 10077, 10118}
)  # of a cluster that elects its leader, or is busy

ADVICE: Final = {
    10047: "make room on its disk, or raise max_file_store",
    10023: "make room on its disk, or raise max_file_store",
    10028: "let its memory store be larger, or write storage=file",
    10035: "let JetStream be enabled for this account",
    10039: "let JetStream be enabled for this account",
    10054: "raise max_payload of the server, or publish less at once",
}


class JetStreamError(Exception):
    """JetStream refuses.

    Attributes:
        code: one of NATS's own.
    """

    def __init__(self, error: dict[str, Any]) -> None:
        self.code = int(error.get("err_code", 0))
        super().__init__(f"{error.get('description', 'unknown error')}, {self.code}")

    @property
    def lasts(self) -> bool:
        """Whether the same happens to a node that tries again at once."""
        return self.code not in NOT_YET


class Missing(Exception):  # noqa: N818  # says what happened
    """The stream isn't there, or has lost what it must have: it has to be made again."""


def check_room(connection: Connection, payload: bytes, where: str) -> None:
    """Check that the server takes so many bytes.

    Raises:
        BrokerError: if it doesn't: it would end the connection.
    """
    room = int(connection.info.get("max_payload", 1 << 20))
    if len(payload) + HEADERS > room:
        raise BrokerError(
            f"NATS at {where} takes {room} bytes at a time, and {len(payload)} are too many: raise its max_payload,"
            " or publish less at once"
        )


async def api(connection: Connection, what: str, arguments: object = None) -> dict[str, Any]:
    """Carry out a request of the API.

    Raises:
        JetStreamError, ConnectionLost, TimeoutError: if that fails.
    """
    payload = b"" if arguments is None else msgspec.json.encode(arguments)
    async with asyncio.timeout(ANSWER):
        message = await connection.request(b"$JS.API." + what.encode(), payload)
    return opened(message)


def opened(message: Message) -> dict[str, Any]:
    """The answer of JetStream.

    Raises:
        JetStreamError: if it is an error.
        Missing: if no stream listens.
    """
    if message.status == b"503":
        raise Missing
    answer = msgspec.json.decode(message.payload, type=dict[str, Any])
    if "error" in answer:
        raise JetStreamError(answer["error"])
    return answer


async def last_message(connection: Connection, stream: str, subject: bytes) -> dict[str, Any] | None:
    """The newest message of a subject, as the leader of the stream has it; None if there is none.

    Raises:
        JetStreamError, ConnectionLost, TimeoutError: if that fails.
    """
    try:
        answer = await api(connection, f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject.decode()})
    except JetStreamError as error:
        if error.code == NO_MESSAGE:
            return None
        raise
    message: dict[str, Any] = answer["message"]
    return message


class JetStream:
    """Requests to one stream, repeated where that does no harm, until NATS is back or patience ends.

    Args:
        link: the connection.
        stream: its name.
        patience: seconds until a call gives up.
        again: makes the stream again when it is missing.
    """

    def __init__(
        self, link: NatsLink, stream: str, patience: float, again: Callable[[Connection], Awaitable[None]]
    ) -> None:
        self.link = link
        self.stream = stream
        self.patience = patience
        self._again = again

    async def append(self, subject: bytes, payload: bytes, headers: bytes = b"", *, repeat: bool) -> int:
        """Publish, and wait until it is kept.

        Args:
            repeat: whether to do it again if the answer doesn't come.

        Returns:
            The number of the message in the stream.

        Raises:
            JetStreamError: if another message of the subject came first.
            Uncertain: if it may be kept.
            BrokerError: if it isn't.
        """

        async def send(connection: Connection) -> int:
            check_room(connection, payload, self.link.where)
            answer = opened(await connection.request(subject, payload, headers))
            return int(answer["seq"])

        return await self.carry_out(send, repeat=repeat)

    async def request(self, what: str, arguments: object = None) -> dict[str, Any]:
        """Carry out a request of the API that may be done twice without harm, and whose name ends with the stream's.

        Raises:
            BrokerError: if it can't be done.
        """
        return await self.carry_out(lambda connection: api(connection, f"{what}.{self.stream}", arguments))

    async def read(self, request: dict[str, Any]) -> tuple[list[Message], Message]:
        """Read messages, by https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-31.md

        Raises:
            BrokerError: if they can't be read.
        """
        subject, payload = b"$JS.API.DIRECT.GET." + self.stream.encode(), msgspec.json.encode(request)

        async def send(connection: Connection) -> tuple[list[Message], Message]:
            messages, end = await connection.collect(subject, payload)
            if end.status == b"503":
                raise Missing
            if end.status not in (b"204", b"404"):
                raise JetStreamError({"description": end.headers.decode(errors="replace").strip()})
            return messages, end

        return await self.carry_out(send)

    async def read_from(self, subject: bytes, number: int) -> list[Message]:
        """All messages of a subject from a number on. It may have wildcards.

        Raises:
            BrokerError: if they can't be read.
        """
        together: list[Message] = []
        while True:
            request = {"seq": max(number, 1), "next_by_subj": subject.decode(), "batch": TOGETHER, "max_bytes": BYTES}
            messages, end = await self.read(request)
            together += messages
            if not messages or end.status != b"204" or int(end.header(b"Nats-Num-Pending") or 0) == 0:
                return together
            number = int(messages[-1].header(b"Nats-Sequence")) + 1

    async def carry_out(self, send: Callable[[Connection], Awaitable[T]], *, repeat: bool = True) -> T:
        """Carry out a request.

        Raises:
            JetStreamError: if another message of the subject came first.
            Uncertain: if it may have been carried out.
            BrokerError: if it wasn't.
        """
        end = time.monotonic() + self.patience
        while True:
            connection = self.link.connection or await self.link.ready(end - time.monotonic())
            trouble = "it didn't answer in time"
            try:
                async with asyncio.timeout(ANSWER if repeat else self.patience):
                    return await send(connection)
            except Missing:
                await self._make_again(connection, end)
                continue
            except JetStreamError as error:
                if error.code in WRONG_LAST:
                    raise
                if error.lasts or time.monotonic() > end:
                    raise self.describe(error) from error
                await asyncio.sleep(PAUSE)
                continue
            except ConnectionLost as error:
                trouble = f"the connection was lost: {error}"
            except TimeoutError:
                pass
            if not repeat:
                raise Uncertain(
                    f"NATS at {self.link.where} has not answered ({trouble}): the publication may have been accepted;"
                    " publish with an id, and it is repeated"
                )
            if time.monotonic() > end:
                raise BrokerError(f"NATS at {self.link.where} has not answered ({trouble}); try again later")

    async def _make_again(self, connection: Connection, end: float) -> None:
        if time.monotonic() > end:
            raise BrokerError(f"NATS at {self.link.where} has no stream {self.stream}, and can't make it; try later")
        try:
            await self._again(connection)
        except JetStreamError as error:
            if error.lasts:
                raise self.describe(error) from error
            await asyncio.sleep(PAUSE)
        except (ConnectionLost, Missing, TimeoutError):
            await asyncio.sleep(PAUSE)

    def describe(self, error: JetStreamError) -> BrokerError:
        """The error of the broker that says the same, and what to do."""
        advice = ADVICE.get(error.code)
        return BrokerError(f"NATS at {self.link.where} refused ({error})" + (f": {advice}" if advice else ""))


def number_of(message: Message) -> int:
    """The number in the stream of a message that was read, or is delivered."""
    return int(message.header(b"Nats-Sequence"))


def time_of(message: Message) -> int:
    """When it was published, in milliseconds since 1970."""
    return milliseconds_of(message.header(b"Nats-Time-Stamp").decode())


def milliseconds_of(text: str) -> int:
    """A time of NATS, such as 2026-11-30T12:22:00.394817993Z, in milliseconds since 1970."""
    seconds, _, fraction = text.rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(seconds + "+00:00")
    return int(moment.timestamp()) * 1000 + int((fraction + "000")[:3])
