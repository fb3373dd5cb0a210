"""`trunkline.asyncio` in the conformance suite, on either engine and any kind of event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

import trunkline
from trunkline.asyncio.engine import Engine
from trunkline.testing.driver import AsyncDriver, Call, Cancelled
from trunkline.testing.peer import PATIENCE

__all__ = ["AsyncioDriver"]


class AsyncioDriver(AsyncDriver):
    """trunkline on asyncio.

    Args:
        engine: "reactor" or "transports".
        loop_factory: makes the event loop; None for the default one.
        name: for names of tests.
    """

    def __init__(
        self,
        engine: Engine = "auto",
        loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
        name: str | None = None,
    ) -> None:
        self.engine = engine
        self.loop_factory = loop_factory
        self.name = name or f"asyncio-{engine}"

    # The world

    def __enter__(self) -> Self:
        self.unseen: list[Any] = []
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.thread.start()
        self.ready.wait(PATIENCE)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.loop.call_soon_threadsafe(self.stopped.set_result, None)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the event loop doesn't end"
        assert not self.unseen, f"left in the event loop: {self.unseen}"

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=self.loop_factory) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda loop, context: self.unseen.append(context))
        self.stopped: asyncio.Future[None] = self.loop.create_future()
        self.ready.set()
        await self.stopped
        for _ in range(100):  # what has ended may have to be forgotten
            if len(asyncio.all_tasks()) == 1:
                return
            await asyncio.sleep(0.01)
        self.unseen += asyncio.all_tasks() - {asyncio.current_task()}

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        call = Call(lambda: self.loop.call_soon_threadsafe(begun.result().cancel))
        begun: concurrent.futures.Future[asyncio.Task[None]] = concurrent.futures.Future()

        def ended(task: asyncio.Task[Any]) -> None:
            if task.cancelled():
                call.future.set_exception(Cancelled())
            elif (error := task.exception()) is not None:
                call.future.set_exception(error)
            else:
                call.future.set_result(task.result())

        def begin() -> None:
            task = self.loop.create_task(self.run(function, args, kwargs))
            task.add_done_callback(ended)
            begun.set_result(task)

        self.loop.call_soon_threadsafe(begin)
        return call

    # The driver

    async def open_client(self, uri: str, **options: Any) -> Any:
        connect = trunkline.unix_connect if "path" in options else trunkline.connect
        # The reactor doesn't do TLS, and can't be asked for where there is an HTTP proxy.
        engine: Engine = "auto" if uri.startswith("wss:") or options.get("proxy") else self.engine
        return await connect(uri=uri, engine=engine, **options)

    async def open_server(self, handler: Callable[..., Any], **options: Any) -> Any:
        engine: Engine = "auto" if "ssl" in options else self.engine
        if "path" in options:
            return await trunkline.unix_serve(handler, engine=engine, **options)
        return await trunkline.serve(handler, "127.0.0.1", 0, engine=engine, **options)

    async def close_server(self, server: Any, **options: Any) -> None:
        server.close(**options)
        await server.wait_closed()

    def broadcast(self, connections: Iterable[Any], message: Any, **options: Any) -> None:
        trunkline.broadcast(connections, message, **options)

    def basic_auth(self, realm: str, **options: Any) -> Callable[..., Any]:
        return trunkline.basic_auth(realm, **options)

    async def wait(self, future: concurrent.futures.Future[Any]) -> Any:
        # Cancelling must not reach the future, which is the test's.
        return await asyncio.shield(asyncio.wrap_future(future))

    async def wait_for_pong(self, ping: Any) -> None:
        await ping

    def address(self, server: Any) -> Any:
        return server.sockets[0].getsockname()
