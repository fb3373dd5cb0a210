"""`trunkline.trio` in the conformance suite."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

import trio

from trunkline.testing.driver import AsyncDriver, Call, Cancelled
from trunkline.testing.peer import PATIENCE
from trunkline.trio.client import connect, unix_connect
from trunkline.trio.server import Server, basic_auth, broadcast, serve

__all__ = ["TrioDriver"]


class TrioDriver(AsyncDriver):
    """trunkline on trio.

    Args:
        clock: of `trio.run`.
    """

    name = "trio"
    features = AsyncDriver.features - {"unix server", "cancelled close"}
    close_name = "aclose"

    # The world

    def __enter__(self) -> Self:
        self.ready = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.thread.start()
        self.ready.wait(PATIENCE)
        return self

    def __exit__(self, *exc_info: object) -> None:
        trio.from_thread.run_sync(self.stopped.set, trio_token=self.token)
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "trio.run doesn't end"
        if self.failure is not None:
            raise AssertionError("trio.run failed") from self.failure

    def _run(self) -> None:
        try:
            trio.run(self._live)
        except BaseException as error:
            self.failure = error

    async def _live(self) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self.stopped = trio.Event()
        async with trio.open_nursery() as self.nursery:
            self.ready.set()
            await self.stopped.wait()
            with trio.move_on_after(1) as patience:  # what has ended may have to be forgotten
                while self.nursery.child_tasks:
                    await trio.sleep(0.01)
            assert not patience.cancelled_caught, f"left in the nursery: {self.nursery.child_tasks}"
            self.nursery.cancel_scope.cancel()

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        scope = trio.CancelScope()
        call = Call(lambda: self.token.run_sync_soon(scope.cancel))

        async def run() -> None:
            try:
                with scope:
                    result = await self.run(function, args, kwargs)
            except BaseException as error:
                call.future.set_exception(error)
                if isinstance(error, trio.Cancelled):
                    raise
                return
            if scope.cancelled_caught:
                call.future.set_exception(Cancelled())
            else:
                call.future.set_result(result)

        self.token.run_sync_soon(lambda: self.nursery.start_soon(run))
        return call

    # The driver

    async def open_client(self, uri: str, **options: Any) -> Any:
        if "path" in options:
            return await unix_connect(uri=uri, **options).connect(self.nursery)
        return await connect(uri, **options).connect(self.nursery)

    async def open_server(self, handler: Callable[..., Any], **options: Any) -> Any:
        async def run(task_status: trio.TaskStatus[Server]) -> None:
            await serve(handler, 0, host="127.0.0.1", task_status=task_status, **options)

        return await self.nursery.start(run)

    async def close_server(self, server: Any, **options: Any) -> None:
        await server.aclose(**options)

    async def broadcast(self, connections: Iterable[Any], message: Any, **options: Any) -> None:
        await broadcast(connections, message, **options)

    def basic_auth(self, realm: str, **options: Any) -> Callable[..., Any]:
        return basic_auth(realm, **options)

    async def wait(self, future: concurrent.futures.Future[Any]) -> Any:
        done = trio.Event()

        def tell(future: object) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                self.token.run_sync_soon(done.set)

        future.add_done_callback(tell)
        await done.wait()
        return future.result()

    async def wait_for_pong(self, ping: Any) -> None:
        await ping.wait()

    def address(self, server: Any) -> Any:
        listener = server.listeners[0]
        return listener.socket.getsockname()
