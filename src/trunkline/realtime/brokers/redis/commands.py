"""Commands and scripts, repeated where that does no harm, until Redis is back or patience ends."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from trunkline.realtime.brokers.base import BrokerError, Uncertain
from trunkline.realtime.brokers.link import HEARTBEAT
from trunkline.realtime.brokers.redis.address import Address
from trunkline.realtime.brokers.redis.connection import Connection
from trunkline.realtime.brokers.redis.link import RedisLink
from trunkline.realtime.brokers.redis.resp import RedisError
from trunkline.realtime.brokers.wire import ConnectionLost

__all__ = ["Commands", "Script"]

PAUSE: Final = 0.1  # seconds before a command is repeated that Redis can't carry out yet

#: Redis, or a server of a Sentinel or a Cluster, isn't ready: nothing was done.
NOT_YET: Final = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "READONLY", "NOREPLICAS"})

ADVICE: Final = {
    "OOM": "give it more memory, or keep less history",
    "MISCONF": "it can't write to its disk: make room there",
    "NOPERM": "let this user run the command",
    "MOVED": "this is one server of a Redis Cluster, which trunkline can't use; name a server of its own",
    "CROSSSLOT": "this is one server of a Redis Cluster, which trunkline can't use; name a server of its own",
    "WRONGTYPE": "another program uses the same keys: choose another ?prefix=",
}


class Script:
    """A program that Redis runs, all of it or nothing, while nothing else happens."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


class Commands:
    """A connection for commands.

    Args:
        address, context, heartbeat: as for `RedisLink`.
        scripts: that `run` may be called with.
        durable: whether Redis forgets nothing when it is started again, so that its `run_id` doesn't matter.
        patience: seconds until a call gives up.
        on_back: called when a connection was lost, and there is another.
    """

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | None = None,
        *,
        scripts: Sequence[Script],
        durable: bool,
        patience: float,
        heartbeat: float = HEARTBEAT,
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.address = address
        self.patience = patience
        self.link = RedisLink(address, context, prepare=self._load, on_back=on_back, heartbeat=heartbeat)
        self._scripts = scripts
        self._durable = durable

    async def call(self, *args: bytes, repeat: bool = True) -> Any:
        """Carry out a command.

        Args:
            repeat: whether to do it again after the connection was lost, and the server has perhaps done it.

        Raises:
            Uncertain: if it may have been carried out.
            BrokerError: if it wasn't.
        """
        return await self._carry_out(lambda connection: connection.call(*args), repeat)

    async def call_all(self, commands: Sequence[Sequence[bytes]]) -> list[Any]:
        """Carry out several commands, which may be done twice without harm; returns their answers.

        Raises:
            BrokerError: if one wasn't carried out.
        """

        def send(connection: Connection) -> asyncio.Future[list[Any]]:
            return asyncio.gather(*(connection.call(*each) for each in commands))

        answers: list[Any] = await self._carry_out(send, repeat=True)
        return answers

    async def run(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], *, repeat: bool = True) -> Any:
        """Run a script. Its first argument is the `run_id` of the server, or nothing; the others are `args`.

        Raises:
            Uncertain, BrokerError: as for `call`.
        """
        head = (b"EVALSHA", script.sha, b"%d" % len(keys), *keys)

        def send(connection: Connection) -> asyncio.Future[Any]:
            return connection.call(*head, b"" if self._durable else self.link.run_id, *args)

        return await self._carry_out(send, repeat)

    async def _carry_out(self, send: Callable[[Connection], asyncio.Future[Any]], repeat: bool) -> Any:
        end = time.monotonic() + self.patience
        while True:
            connection = self.link.connection or await self.link.ready(end - time.monotonic())
            try:
                return await send(connection)
            except ConnectionLost as error:
                if not repeat:
                    raise Uncertain(
                        f"the connection to Redis at {self.address} was lost ({error}) before it answered: the"
                        " publication may have been accepted; publish with an id, and it is repeated"
                    ) from error
            except RedisError as error:
                await self._recover(connection, error, end)

    async def _recover(self, connection: Connection, error: RedisError, end: float) -> None:
        """Prepare another attempt, after an error that says that nothing was done.

        Raises:
            BrokerError: if another attempt is of no use.
        """
        if error.code == "NOSCRIPT":  # SCRIPT FLUSH, or another server behind the same address
            try:
                await self._load(connection)
            except ConnectionLost:
                return
            except RedisError as again:
                raise self._describe(again) from again
        elif error.code in NOT_YET and time.monotonic() < end:
            if error.code == "READONLY":  # it became a replica: the address may lead elsewhere now
                connection.abort("it is a replica now")
            await asyncio.sleep(PAUSE)
        else:
            raise self._describe(error) from error

    async def _load(self, connection: Connection) -> None:
        await asyncio.gather(*(connection.call(b"SCRIPT", b"LOAD", script.text) for script in self._scripts))

    def _describe(self, error: RedisError) -> BrokerError:
        advice = ADVICE.get(error.code)
        return BrokerError(f"Redis at {self.address} refused ({error})" + (f": {advice}" if advice else ""))
