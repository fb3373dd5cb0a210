"""An adapter between a driver and the conformance suite: a test in one thread uses a driver in another.

A driver is what gives the protocol sockets, a clock and tasks: `trunkline.asyncio`, or yours. Its
adapter derives from `Driver`, or, if it has an event loop, from `AsyncDriver`.
"""

from __future__ import annotations

import concurrent.futures
import inspect
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

from trunkline.testing.peer import PATIENCE

__all__ = ["AsyncDriver", "Call", "Cancelled", "Driver", "Steps"]

#: Values that come one at a time: a future for each.
Steps = Sequence["concurrent.futures.Future[Any]"]


class Cancelled(Exception):  # noqa: N818  # as trio and asyncio have it
    """The call was cancelled."""


class Call:
    """A call that runs in the world of a driver.

    Args:
        cancel: asks it to stop, from any thread.
    """

    def __init__(self, cancel: Callable[[], object]) -> None:
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self._cancel = cancel

    def done(self) -> bool:
        """Whether it has ended."""
        return self.future.done()

    def result(self, timeout: float = PATIENCE) -> Any:
        """Return the result of the call, or raise its exception.

        Raises:
            TimeoutError: if it takes longer than `timeout` seconds.
        """
        return self.future.result(timeout)

    def cancel(self) -> bool:
        """Cancel it, and wait for its end; False if it had ended, or ended otherwise."""
        self._cancel()
        try:
            self.future.result(PATIENCE)
        except Cancelled:
            return True
        except TimeoutError:
            raise
        except Exception:
            return False
        return False


class Driver(ABC):
    """Adapter of a driver. Entering it starts the driver's world, leaving it ends it; it can be entered again.

    The functions that `start` runs are the driver's own: `connection.recv`, `connection.send` and so on. They may be
    coroutine functions where the driver has an event loop.

    Attributes:
        name: for names of tests.
        features: of `FEATURES`, those that it has: scenarios that need another one are left out.
        close_name: what the method that closes a connection is called.
        exceptions: what a scenario expects is looked for in groups of one exception, too.
    """

    #: Features that not every driver has.
    FEATURES: ClassVar[dict[str, str]] = {
        "cancellation": "a call that waits can be cancelled",
        "cancelled close": "closing can be cancelled, and waited for again",
        "client": "`open_client`",
        "server": "`open_server`",
        "unix client": "`open_client(path=)`",
        "unix server": "`open_server(path=)`",
        "tls": "`ssl=` for both",
        "write limit": "`write_limit=`; without it, `send` waits for the kernel",
        "async iterables": "`send` takes asynchronous iterables",
        "timeouts": "`recv(timeout=)`",
        "half-close": "over TCP, the end of our half of the stream leaves the peer's half open",
    }

    name: str = "driver"
    features: frozenset[str] = frozenset(FEATURES)
    close_name: str = "close"

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, *exc_info: object) -> None:
        """End the world.

        Raises:
            AssertionError: if anything is left in it, or a task failed unseen.
        """

    @abstractmethod
    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Call:
        """Run a function in the driver's world, concurrently with whatever runs there."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a function in the driver's world; returns what it returns."""
        return self.start(function, *args, **kwargs).result()

    # Functions for `start`, in the driver's own way of waiting

    def in_sequence(self, *steps: Callable[[], Any]) -> Any:
        """Call functions in one task or thread, one behind the other; those of the test may block it."""
        for step in steps:
            step()

    @abstractmethod
    def open_client(self, uri: str, **options: Any) -> Any:
        """Connect; returns the connection, which stays open. `path` is that of a Unix socket."""

    @abstractmethod
    def open_server(self, handler: Callable[..., Any], **options: Any) -> Any:
        """Start a server on a free port of 127.0.0.1, or a Unix socket if there is a `path`; returns it."""

    @abstractmethod
    def close_server(self, server: Any, **options: Any) -> Any:
        """Close a server, and wait until it is closed; `options` as the driver has them: `code`, `reason`, ..."""

    @abstractmethod
    def broadcast(self, connections: Iterable[Any], message: Any, **options: Any) -> Any:
        """Send to many."""

    @abstractmethod
    def basic_auth(self, realm: str, **options: Any) -> Callable[..., Any]:
        """The driver's `basic_auth`."""

    @abstractmethod
    def wait(self, future: concurrent.futures.Future[Any]) -> Any:
        """Wait for a future of the test's thread; returns its result or raises its exception."""

    @abstractmethod
    def wait_for_pong(self, ping: Any) -> Any:
        """Wait for the answer to a ping; `ping` is what the connection's method of that name returned."""

    @abstractmethod
    def collect(self, iterable: Any, put: Callable[[Any], object]) -> Any:
        """Call `put` with each item of what a connection gives to iterate over."""

    @abstractmethod
    def handler(self, hand_over: Callable[[Any], concurrent.futures.Future[Any]]) -> Callable[..., Any]:
        """A handler of connections: it hands its connection over, and ends with the future that it gets."""

    @abstractmethod
    def one_by_one(self, steps: Steps) -> Any:
        """An iterable of the results of futures, each as soon as it is there; for `send`."""

    # Things that have no waiting in them

    @abstractmethod
    def address(self, server: Any) -> Any:
        """Where a server listens, as `socket.connect` takes it."""

    def close(self, connection: Any, *args: Any, **kwargs: Any) -> Any:
        """Close a connection (for `start`)."""
        return getattr(connection, self.close_name)(*args, **kwargs)


class AsyncDriver(Driver):
    """A driver with coroutines, on any event loop; a subclass defines `start` and the world around it."""

    features = frozenset(Driver.FEATURES) - {"timeouts"}

    async def in_sequence(self, *steps: Callable[[], Any]) -> None:
        for step in steps:
            await self.run(step, (), {})

    async def collect(self, iterable: AsyncIterable[Any], put: Callable[[Any], object]) -> None:
        async for item in iterable:
            put(item)

    def handler(self, hand_over: Callable[[Any], concurrent.futures.Future[Any]]) -> Callable[..., Any]:
        async def handler(connection: Any) -> None:
            await self.wait(hand_over(connection))

        return handler

    async def one_by_one(self, steps: Steps) -> AsyncIterator[Any]:
        for step in steps:
            yield await self.wait(step)

    @staticmethod
    async def run(function: Callable[..., Any], args: Iterable[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function, and wait for what it returns if that can be waited for."""
        result = function(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result


def blocking_steps(steps: Steps) -> Iterator[Any]:
    """`one_by_one` for drivers that block."""
    for step in steps:
        yield step.result(PATIENCE)
