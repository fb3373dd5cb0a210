"""Keeps a connection to one of several NATS servers: connects, says who we are, and does so again when it is lost."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from trunkline.realtime.brokers.base import BrokerError
from trunkline.realtime.brokers.link import CONNECTING, Link
from trunkline.realtime.brokers.nats import protocol
from trunkline.realtime.brokers.nats.address import Address, Server
from trunkline.realtime.brokers.nats.connection import Connection, NatsError
from trunkline.realtime.brokers.nats.keys import Credentials
from trunkline.realtime.brokers.nats.protocol import Message
from trunkline.realtime.brokers.wire import ConnectionLost

__all__ = ["NatsLink"]

OLDEST: Final = (2, 11)  # version of the server

#: Errors of the server that don't pass when one tries again at once.
LASTING: Final = ("authorization", "authentication", "permissions", "account")


class NatsLink(Link[Connection]):
    """A connection to NATS that comes back, to another server if there are several.

    Args:
        address: of the servers.
        credentials: the key that proves who we are; None without.
        context: for TLS; None for that of the operating system.
        prepare: called with each new connection before it is used. An error of this call ends the connection.
        on_messages: as for `Connection`, with the subscriptions' numbers from 2 on.
        on_back: as for `Link`.
        on_down: called when the connection in use was lost.
        heartbeat: as for `Link`.

    Attributes:
        servers: those of the address, then those that the servers told us of; the next one to try comes first.
    """

    engine = "NATS"

    def __init__(
        self,
        address: Address,
        credentials: Credentials | None,
        context: ssl.SSLContext | None,
        *,
        prepare: Callable[[Connection], Awaitable[None]],
        on_messages: Callable[[list[Message]], None],
        on_back: Callable[[], None],
        on_down: Callable[[], None],
        heartbeat: float,
    ) -> None:
        super().__init__(on_back, heartbeat)
        self.address = address
        self.servers = deque(address.servers)
        self._credentials = credentials
        self._context = context
        self._prepare = prepare
        self._on_messages = on_messages
        self._on_down = on_down
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def where(self) -> str:
        return str(self.address)

    async def _connect(self) -> Connection:
        """To the first server that answers; the error of the last one if none does."""
        for attempt in itertools.count(1):
            server = self.servers[0]
            self.servers.rotate(-1)
            try:
                return await self._connect_to(server)
            except Exception as error:
                if attempt >= len(self.servers) or self._lasts(error):
                    raise
        raise AssertionError("there is no server")

    async def _connect_to(self, server: Server) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECTING):
            _, connection = await loop.create_connection(
                lambda: Connection(self._on_messages, self._on_lost, self._on_info), server.host, server.port
            )
            try:
                await connection.greeted
                await self._secure(connection, server)
                await self._introduce(connection)
                await self._prepare(connection)
            except ConnectionLost as lost:
                raise NatsError(str(lost)) from lost
            except BaseException:
                connection.abort("it isn't ready")
                raise
        return connection

    async def _secure(self, connection: Connection, server: Server) -> None:
        """Speak TLS from here on, if the server demands it, or we do."""
        if not (self.address.tls or connection.info.get("tls_required")):
            return
        if not (connection.info.get("tls_required") or connection.info.get("tls_available")):
            raise NatsError("Secure Connection - TLS not available")
        plain = connection.transport
        if plain is None:
            raise ConnectionLost(connection.lost.result())
        context = self._context or ssl.create_default_context()
        secure = await asyncio.get_running_loop().start_tls(plain, connection, context, server_hostname=server.host)
        if secure is None:
            raise ConnectionLost("the server ended the connection")
        connection.connection_made(secure)

    async def _introduce(self, connection: Connection) -> None:
        """https://docs.nats.io/reference/reference-protocols/nats-protocol#connect"""
        options: dict[str, Any] = {
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
            "echo": True,
            "protocol": 1,
            "lang": "python",
            "version": "1",
            "name": "trunkline",
        }
        address = self.address
        if address.user:
            options |= {"user": address.user, "pass": address.password}
        if address.token:
            options["auth_token"] = address.token
        if self._credentials is not None:
            options |= self._credentials.answer(connection.info.get("nonce", ""))
        connection.send(protocol.connect(options))
        await connection.ping()
        version = str(connection.info.get("version", ""))
        if _numbers(version) < OLDEST:
            raise NatsError(f"version {version or 'unknown'} is too old")
        if not connection.info.get("jetstream"):
            raise NatsError("JetStream isn't enabled")
        connection.listen_for_answers()

    def _on_info(self, connection: Connection) -> None:
        """The server says something new of itself: of others, or that it will leave."""
        for url in connection.info.get("connect_urls") or ():
            try:
                server = Server.of(url)
            except ValueError:
                continue
            if server not in self.servers:
                self.servers.append(server)
        if connection.info.get("ldm") and len(self.servers) > 1 and self.connection is connection:
            task = asyncio.get_running_loop().create_task(self._leave(connection))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    async def _leave(self, connection: Connection) -> None:
        """The server is about to end: let it answer, then go to another one."""
        self._on_lost(connection)
        await asyncio.wait([connection.ping()], timeout=self._heartbeat)
        connection.abort("it is in lame duck mode")

    def _on_lost(self, connection: Connection) -> None:
        if self.connection is connection:
            self._on_down()
        super()._on_lost(connection)

    def _lasts(self, error: Exception) -> bool:
        if isinstance(error, NatsError):
            text = str(error).lower()
            return text.startswith(LASTING) or "too old" in text or "jetstream isn't" in text or "tls not" in text
        return isinstance(error, BrokerError) or super()._lasts(error)

    def _advice(self, error: Exception) -> str:
        if not isinstance(error, NatsError):
            return super()._advice(error)
        text = str(error).lower()
        if text.startswith(("authorization", "authentication", "account")):
            return "write the user and password into the URL, nats://USER:PASSWORD@HOST, or a token, or creds=FILE"
        if text.startswith("permissions"):
            return "let this user publish and subscribe to the subjects that trunkline needs"
        if "too old" in text:
            return f"trunkline needs nats-server {'.'.join(map(str, OLDEST))} or later"
        if "jetstream isn't" in text:
            return "start nats-server with -js"
        if "tls not" in text:
            return "write nats:// instead of tls://, or let the server speak TLS"
        return ""


def _numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version: `2.11.0-beta` is (2, 11)."""
    return tuple(int(each) for each in version.split(".")[:2] if each.isdigit())
