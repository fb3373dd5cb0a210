"""Keeps a connection to Redis: connects, says who we are, and does so again when the connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.brokers.redis.address import Address
from trunkline.realtime.brokers.redis.connection import Connection
from trunkline.realtime.brokers.redis.resp import Push, RedisError

__all__ = ["Link"]

logger = logging.getLogger("trunkline.realtime")

CONNECTING: Final = 5.0  # seconds until the server must have answered all that comes first
HEARTBEAT: Final = 2.0  # seconds; a connection that says nothing for twice as long is lost
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 2.0

#: Errors that don't pass when one tries again at once.
LASTING: Final = frozenset({"WRONGPASS", "NOAUTH", "NOPERM", "NOPROTO", "ERR", "DENIED"})


class Link:
    """A connection that comes back.

    Args:
        address: of the server.
        context: for TLS.
        prepare: called with each new connection before it is used. An error of this call ends the connection.
        on_pushes: as for `Connection`.
        on_back: called when a connection was lost, and there is another.
        heartbeat: seconds between signs of life that we ask for.

    Attributes:
        connection: the present one; None if there is none.
        run_id: of the server: another one is another process.
        ahead: milliseconds that the clock of the server is ahead of ours.
    """

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | None = None,
        *,
        prepare: Callable[[Connection], Awaitable[None]],
        on_pushes: Callable[[list[Push]], None] | None = None,
        on_back: Callable[[], None] = lambda: None,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.address = address
        self.connection: Connection | None = None
        self.run_id = b""
        self.ahead = 0
        self._context = context
        self._prepare = prepare
        self._on_pushes = on_pushes
        self._on_back = on_back
        self._heartbeat = heartbeat
        self._up = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._trouble = ""  # what was logged last

    async def start(self, patience: float) -> None:
        """Connect. `patience`: seconds that the server may take to appear.

        Raises:
            BrokerError: if that fails.
        """
        self._up = asyncio.Event()
        delays, end = _delays(), time.monotonic() + patience
        while True:
            try:
                connection = await self._connect()
                break
            except Exception as error:
                if _lasts(error) or time.monotonic() > end:
                    raise self._describe(error) from error
            await asyncio.sleep(next(delays))
        self._use(connection)
        self._keeping = asyncio.get_running_loop().create_task(self._keep(connection))

    async def close(self) -> None:
        """End the connection, and don't connect again."""
        if self._keeping is not None:
            self._keeping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeping
            self._keeping = None
            self._up.set()  # callers that wait for it give up
        if (connection := self.connection) is not None:
            connection.close()
            await connection.lost

    async def ready(self, patience: float) -> Connection:
        """The connection, as soon as there is one. `patience`: seconds.

        Raises:
            BrokerError: if it takes longer.
        """
        try:
            async with asyncio.timeout(patience):
                while self.connection is None:
                    if self._keeping is None:
                        raise BrokerError(f"the connection to Redis at {self.address} was closed")
                    await self._up.wait()
        except TimeoutError:
            raise self.away() from None
        return self.connection

    def away(self) -> BrokerError:
        """The error that says why nothing can be done now."""
        return BrokerError(
            f"Redis at {self.address} can't be reached ({self._trouble or 'no answer'}); try again later"
        )

    # Connections

    async def _keep(self, connection: Connection) -> None:
        while True:
            await self._watch(connection)
            self._report(connection.lost.result())
            connection = await self._reconnect()
            logger.info("connected to Redis at %s again", self.address)
            self._trouble = ""
            self._use(connection)
            self._on_back()

    async def _reconnect(self) -> Connection:
        for delay in _delays():
            await asyncio.sleep(delay)
            try:
                return await self._connect()
            except Exception as error:
                self._report(_text(error))
        raise AssertionError("delays don't end")

    def _use(self, connection: Connection) -> None:
        if not connection.lost.done():
            self.connection = connection
            self._up.set()

    def _on_lost(self, connection: Connection) -> None:
        if self.connection is connection:
            self.connection = None
            self._up.clear()

    def _report(self, trouble: str) -> None:
        """Log why there is no connection, once."""
        if trouble != self._trouble:
            logger.warning("no connection to Redis at %s: %s; trying again", self.address, trouble)
            self._trouble = trouble

    def _new_connection(self) -> Connection:
        return Connection(self._on_pushes, self._on_lost)

    async def _connect(self) -> Connection:
        async with asyncio.timeout(CONNECTING):
            connection = await self.address.connect(self._new_connection, self._context)
            try:
                await self._introduce(connection)
                await self._prepare(connection)
            except BaseException:
                connection.abort("it isn't ready")
                raise
        return connection

    async def _introduce(self, connection: Connection) -> None:
        address = self.address
        login = (b"AUTH", (address.user or "default").encode(), address.password.encode()) if address.password else ()
        calls = [connection.call(b"HELLO", b"3", *login, b"SETNAME", b"trunkline")]
        if address.db:
            calls.append(connection.call(b"SELECT", b"%d" % address.db))
        calls += [connection.call(b"INFO", section) for section in (b"server", b"persistence")]
        calls.append(connection.call(b"TIME"))
        *_, server, persistence, (seconds, micros) = await _all(calls)
        if b"loading:1" in persistence:
            raise RedisError("LOADING Redis is reading its data")
        self.run_id = server.partition(b"run_id:")[2].partition(b"\r\n")[0]
        self.ahead = int(seconds) * 1000 + int(micros) // 1000 - int(time.time() * 1000)

    async def _watch(self, connection: Connection) -> None:
        """Ask for signs of life until the connection ends."""
        while not connection.lost.done():
            await asyncio.wait([connection.lost], timeout=self._heartbeat)
            before = connection.received
            ping = connection.call(b"PING")
            await asyncio.wait([ping], timeout=self._heartbeat)
            if not ping.done() and connection.received == before:
                connection.abort(f"it was silent for {self._heartbeat:g} s")
                await connection.lost
            elif ping.done():
                ping.exception()

    def _describe(self, error: Exception) -> BrokerError:
        advice = _advice(error)
        return BrokerError(
            f"Redis at {self.address} can't be used ({_text(error)})" + (f": {advice}" if advice else "")
        )


async def _all(calls: list[asyncio.Future[bytes]]) -> list[bytes]:
    """The answers to commands; the first error."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


def _delays() -> Iterator[float]:
    """Seconds to wait before each attempt, with something of chance, so that nodes don't come all at once."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.5)
        delay = min(delay * 2, LONGEST_DELAY)


def _lasts(error: Exception) -> bool:
    """Whether the same happens to who tries again at once."""
    if isinstance(error, RedisError):
        return error.code in LASTING
    return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECTING:g} s"
    return str(error) or type(error).__name__


def _advice(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "pass ssl= with a context that trusts its certificate, or renew it"
    if isinstance(error, RedisError):
        if error.code in ("WRONGPASS", "NOAUTH", "DENIED"):
            return "write the user and password into the URL, redis://USER:PASSWORD@HOST"
        if error.code == "NOPERM":
            return "let this user run the commands, keys and channels that trunkline needs"
        if error.code in ("NOPROTO", "ERR"):
            return "trunkline needs Redis 6.2 or later, or Valkey"
    return ""
