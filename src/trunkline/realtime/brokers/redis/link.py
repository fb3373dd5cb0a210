"""Keeps a connection to Redis: connects, says who we are, and does so again when the connection is lost."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Final

from trunkline.realtime.brokers.link import CONNECTING, HEARTBEAT, Link
from trunkline.realtime.brokers.redis.address import Address
from trunkline.realtime.brokers.redis.connection import Connection
from trunkline.realtime.brokers.redis.resp import Push, RedisError

__all__ = ["RedisLink"]

#: Errors that don't pass when one tries again at once.
LASTING: Final = frozenset({"WRONGPASS", "NOAUTH", "NOPERM", "NOPROTO", "ERR", "DENIED"})


class RedisLink(Link[Connection]):
    """A connection to Redis that comes back.

    Args:
        address: of the server.
        context: for TLS.
        prepare: called with each new connection before it is used. An error of this call ends the connection.
        on_pushes: as for `Connection`.
        on_back, heartbeat: as for `Link`.

    Attributes:
        run_id: of the server: another one is another process.
    """

    engine = "Redis"

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
        super().__init__(on_back, heartbeat)
        self.address = address
        self.run_id = b""
        self._context = context
        self._prepare = prepare
        self._on_pushes = on_pushes

    @property
    def where(self) -> str:
        return str(self.address)

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

    def _lasts(self, error: Exception) -> bool:
        if isinstance(error, RedisError):
            return error.code in LASTING
        return super()._lasts(error)

    def _advice(self, error: Exception) -> str:
        if not isinstance(error, RedisError):
            return super()._advice(error)
        if error.code in ("WRONGPASS", "NOAUTH", "DENIED"):
            return "write the user and password into the URL, redis://USER:PASSWORD@HOST"
        if error.code == "NOPERM":
            return "let this user run the commands, keys and channels that trunkline needs"
        if error.code in ("NOPROTO", "ERR"):
            return "trunkline needs Redis 6.2 or later, or Valkey"
        return ""


async def _all(calls: list[asyncio.Future[bytes]]) -> list[bytes]:
    """The answers to commands; the first error."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
