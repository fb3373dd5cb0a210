"""Keeps a connection to the server of a broker: connects, and does so again when the connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, Final, Generic, TypeVar

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.brokers.wire import Wire

__all__ = ["CONNECTING", "HEARTBEAT", "Link"]

logger = logging.getLogger("trunkline.realtime")

CONNECTING: Final = 5.0  # seconds until the server must have answered all that comes first
HEARTBEAT: Final = 2.0  # seconds; a connection that says nothing for twice as long is lost
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 2.0


C = TypeVar("C", bound=Wire)


class Link(ABC, Generic[C]):
    """A connection that comes back.

    Args:
        on_back: called when a connection was lost, and there is another.
        heartbeat: seconds between signs of life that we ask for.

    Attributes:
        engine: name of the server's program.
        connection: the present one; None if there is none.
        ahead: milliseconds that the clock of the server is ahead of ours.
    """

    engine: ClassVar[str]

    def __init__(self, on_back: Callable[[], None], heartbeat: float) -> None:
        self.connection: C | None = None
        self.ahead = 0
        self._on_back = on_back
        self._heartbeat = heartbeat
        self._up = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._trouble = ""  # what was logged last

    @property
    @abstractmethod
    def where(self) -> str:
        """The address of the server, for errors."""

    @abstractmethod
    async def _connect(self) -> C:
        """Open a connection that can be used at once.

        Raises:
            Exception: if that fails.
        """

    @abstractmethod
    def _lasts(self, error: Exception) -> bool:
        """Whether an error doesn't pass when one tries again at once."""
        return isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)

    @abstractmethod
    def _advice(self, error: Exception) -> str:
        """The remedy for an error; "" if it is unknown."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return "pass ssl= with a context that trusts its certificate, or renew it"
        return ""

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
                if self._lasts(error) or time.monotonic() > end:
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

    async def ready(self, patience: float) -> C:
        """The connection, as soon as there is one. `patience`: seconds.

        Raises:
            BrokerError: if it takes longer.
        """
        try:
            async with asyncio.timeout(patience):
                while self.connection is None:
                    if self._keeping is None:
                        raise BrokerError(f"the connection to {self.engine} at {self.where} was closed")
                    await self._up.wait()
        except TimeoutError:
            raise self.away() from None
        return self.connection

    def away(self) -> BrokerError:
        """The error that says why nothing can be done now."""
        return BrokerError(
            f"{self.engine} at {self.where} can't be reached ({self._trouble or 'no answer'}); try again later"
        )

    # Connections

    async def _keep(self, connection: C) -> None:
        while True:
            await self._watch(connection)
            self._report(connection.lost.result())
            connection = await self._reconnect()
            logger.info("connected to %s at %s again", self.engine, self.where)
            self._trouble = ""
            self._use(connection)
            self._on_back()

    async def _reconnect(self) -> C:
        for delay in _delays():
            await asyncio.sleep(delay)
            try:
                return await self._connect()
            except Exception as error:
                self._report(_text(error))
        raise AssertionError("delays don't end")

    def _use(self, connection: C) -> None:
        if not connection.lost.done():
            self.connection = connection
            self._up.set()

    def _on_lost(self, connection: C) -> None:
        if self.connection is connection:
            self.connection = None
            self._up.clear()

    def _report(self, trouble: str) -> None:
        """Log why there is no connection, once."""
        if trouble != self._trouble:
            logger.warning("no connection to %s at %s: %s; trying again", self.engine, self.where, trouble)
            self._trouble = trouble

    async def _watch(self, connection: C) -> None:
        """Ask for signs of life until the connection ends."""
        while not connection.lost.done():
            await asyncio.wait([connection.lost], timeout=self._heartbeat)
            before = connection.received
            ping = connection.ping()
            await asyncio.wait([ping], timeout=self._heartbeat)
            if not ping.done() and connection.received == before:
                connection.abort(f"it was silent for {self._heartbeat:g} s")
                await connection.lost
            elif ping.done():
                ping.exception()

    def _describe(self, error: Exception) -> BrokerError:
        advice = self._advice(error)
        return BrokerError(
            f"{self.engine} at {self.where} can't be used ({_text(error)})" + (f": {advice}" if advice else "")
        )


def _delays() -> Iterator[float]:
    """Seconds to wait before each attempt, with something of chance, so that nodes don't come all at once."""
    delay = FIRST_DELAY
    while True:
        yield delay * random.uniform(0.5, 1.5)
        delay = min(delay * 2, LONGEST_DELAY)


def _text(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"no answer within {CONNECTING:g} s"
    return str(error) or type(error).__name__
