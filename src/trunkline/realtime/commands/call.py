"""The commands that call the program: rpc and send. And ping, which asks for nothing but an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from trunkline.realtime import codes
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.commands.answer import answer
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.program.functions import Functions
from trunkline.realtime.program.hooks import Hook, call
from trunkline.realtime.program.steps import Paused
from trunkline.realtime.tasks import Tasks
from trunkline.realtime.wire.messages import Ping, RPCRequest, RPCResult, SendRequest, as_bytes
from trunkline.realtime.wire.payloads import encode

__all__ = ["Calling"]


class Calling:
    """Carries out the commands.

    Args:
        functions: of the program.
        most: calls of one client that may run at the same time.
        tasks: those of the node.
    """

    def __init__(self, functions: Functions, most: int, tasks: Tasks) -> None:
        self.functions = functions
        self.most = most
        self.tasks = tasks
        self.start_over()

    def start_over(self) -> None:
        """Begin anew, in whatever event loop."""
        self._running: set[asyncio.Task[None]] = set()
        self._counts: dict[Client, int] = {}

    def cancel(self) -> None:
        """Cancel the calls that run, but for the one that asks: no client hears the answers any more."""
        for task in self._running - {asyncio.current_task()}:
            task.cancel()

    def rpc(self, client: Client, id: int, request: RPCRequest) -> Awaitable[None] | None:
        """Call a procedure: beside other commands if it is a coroutine function and not too many run."""
        procedure = self.functions.procedures.get(request.method)
        if procedure is None:
            raise Refused(codes.METHOD_NOT_FOUND)
        data = as_bytes(request.data)
        count = self._counts.get(client, 0)
        if procedure.is_async and count < self.most:
            self._counts[client] = count + 1
            task = self.tasks.spawn(self._call_beside(client, id, self._call(client, id, procedure, data)))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            return None
        result = client.hub.pace.start(procedure, client, data, {})
        if isinstance(result, Paused):
            return self._answer_later(client, id, result)
        self._answer(client, id, result)
        return None

    async def _call_beside(self, client: Client, id: int, calling: Awaitable[None]) -> None:
        try:
            await answer(client, id, calling)
        except Disconnected as error:
            client.disconnect(error.code, error.reason)
        finally:
            self._counts[client] -= 1
            if not self._counts[client]:
                del self._counts[client]

    async def _call(self, client: Client, id: int, procedure: Hook, data: bytes | None) -> None:
        result = client.hub.pace.start(procedure, client, data, {})
        self._answer(client, id, await result if isinstance(result, Paused) else result)

    async def _answer_later(self, client: Client, id: int, call: Paused) -> None:
        self._answer(client, id, await call)

    def _answer(self, client: Client, id: int, result: object) -> None:
        client.reply(id, rpc=RPCResult(client.codec.payload(encode(result))))

    async def send(self, client: Client, id: int, request: SendRequest) -> None:
        """Hand a message outside of channels to the program. It has no answer."""
        if self.functions.message is None:
            raise Disconnected(codes.NO_MESSAGES)
        await call(self.functions.message, client, as_bytes(request.data), {})

    def ping(self, client: Client, id: int, request: Ping) -> None:
        """Answer."""
        client.reply(id, ping=Ping())
