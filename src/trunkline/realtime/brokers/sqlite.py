"""History in a file that outlives the process: `sqlite:///history.db`."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_args

from trunkline.realtime.brokers.base import BrokerError, BrokerEvents, History
from trunkline.realtime.brokers.expiry import Expiry
from trunkline.realtime.brokers.local import LocalBroker, Stream, found, retained
from trunkline.realtime.brokers.sqlite_store import Appended, Slice, SQLiteStore, Synchronous, describe
from trunkline.realtime.limits import check_seconds
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["SQLiteBroker"]

WAITING: Final = 1024  # calls that wait for the disk; further ones wait for a place
TOGETHER: Final = 512  # calls in one transaction
AT_ONCE: Final = 32  # deliveries before others have their turn in the event loop
RING: Final = 300  # publications of a channel in memory, for those who reconnect

T = TypeVar("T")
Outcome = Any  # what the work returned, or the exception that it raised


class Job(NamedTuple):
    """Work for the thread.

    Attributes:
        work: runs in the thread, within a transaction; a second time, in one of its own, if the first failed.
        done: runs in the event loop after the commit, with what `work` returned, or with the exception.
        id: of the publication that `work` appends, if it has one, and before it the name of its channel.
    """

    work: Callable[[SQLiteStore], Any]
    done: Callable[[Outcome], None]
    id: tuple[str, str] | None = None


class SQLiteBroker(LocalBroker):
    """Keeps the newest publications of each channel in an SQLite database, for one node.

    `publish` delivers, and returns, when the publication is on the disk. One thread writes, and takes all publications
    that wait into one transaction: the busier, the fewer flushes of the disk for each, and what was stored together is
    delivered together. When 1,024 calls wait for the disk, further ones wait for a place. Of each channel that this
    node subscribes to, the newest 300 publications are in memory, too, so that those who reconnect needn't wait for the
    disk.

    All channels have one epoch, made with the file. A channel is forgotten after `idle` seconds without publications;
    its offsets don't start again, as in `MemoryBroker`.

    Args:
        path: of the database, which is made if there is none. One process at a time can use it.
        synchronous: "full": publications survive a power failure. "normal", faster where flushes are slow: they survive
            the death of the process. The epoch is a new one then, so that no client recovers.
        idle: seconds.
        patience: seconds that `start` waits for another process to let go of the database, as in a deploy.
        clock: seconds since 1970.

    Raises:
        ValueError: if `synchronous` is something else.
        TypeError, ValueError: if `idle` or `patience` makes no sense.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Synchronous = "full",
        idle: float = 7 * 86400,
        patience: float = 5,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__()
        if synchronous not in get_args(Synchronous):
            raise ValueError(f"synchronous is {synchronous!r}; it must be full or normal")
        check_seconds("idle", idle)
        check_seconds("patience", patience)
        self.path = path
        self.synchronous = synchronous
        self._clock = clock
        self._writer = Writer(
            partial(SQLiteStore, path, synchronous=synchronous, idle=idle, patience=patience), self._now, self._hand_out
        )
        self._open = False
        self._epoch = ""
        self._places = asyncio.Semaphore()
        self._streams: dict[str, Stream] = {}  # of the channels that are subscribed to
        self._expiry = Expiry(self._now, lambda channel: None)
        self._stored: dict[str, list[Publication]] = {}  # by channel, and not yet delivered

    async def start(self, events: BrokerEvents) -> None:
        self._epoch = await self._writer.start()
        self._places = asyncio.Semaphore(WAITING)  # belongs to this event loop
        await super().start(events)
        self._open = True

    async def close(self) -> None:
        self._open = False
        self._expiry.stop()
        await self._writer.stop()
        self._streams.clear()
        await super().close()

    async def publish(
        self,
        channel: str,
        publication: Publication,
        *,
        size: int = 0,
        ttl: float = 0,
        id: str | None = None,
    ) -> StreamPosition:
        self._running()
        publication.time = self._now()
        if not retained(size, ttl, id):
            publication.offset = 0
            self._deliver(channel, publication)
            return StreamPosition()

        def done(appended: Appended) -> None:
            if appended.new:
                publication.offset = appended.offset
                self._keep(channel, publication, size, ttl)
                self._stored.setdefault(channel, []).append(publication)

        appended = await self._do(
            lambda store: store.append(channel, publication, size, ttl, id), done, None if id is None else (channel, id)
        )
        return StreamPosition(appended.offset, self._epoch)

    async def subscribe(self, channel: str) -> None:
        await super().subscribe(channel)
        if channel not in self._streams:
            now = self._now()
            await self._do(
                lambda store: store.read(channel, now, None, RING, reverse=True), partial(self._load, channel)
            )

    async def unsubscribe(self, channel: str) -> None:
        await super().unsubscribe(channel)
        self._streams.pop(channel, None)

    async def history(
        self,
        channel: str,
        *,
        since: StreamPosition | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        self._running()
        now, after = self._now(), since and since.offset
        stream = self._streams.get(channel)
        if stream is not None:
            stream.expire(now)
            if (
                stream.whole
                or (since is None and limit == 0)
                or (since and not reverse and since.offset >= stream.base)
            ):
                publications = stream.read(after, limit, reverse)
                return found(publications, StreamPosition(stream.top, self._epoch), stream.base, since, reverse)
        stored = await self._do(lambda store: store.read(channel, now, after, limit, reverse))
        return found(stored.publications, StreamPosition(stored.top, self._epoch), stored.base, since, reverse)

    async def remove_history(self, channel: str) -> None:
        def done(_: None) -> None:
            if (stream := self._streams.get(channel)) is not None:
                stream.clear()
                stream.whole = True

        await self._do(lambda store: store.remove(channel), done)

    def _running(self) -> BrokerEvents:
        events = super()._running()
        if not self._open:
            raise BrokerError("this SQLiteBroker is being closed")
        return events

    def _now(self) -> int:
        return int(self._clock() * 1000)

    async def _do(
        self,
        work: Callable[[SQLiteStore], T],
        then: Callable[[T], None] | None = None,
        id: tuple[str, str] | None = None,
    ) -> T:
        """Have the thread do `work`, then call `then` with the result, even if the caller has given up meanwhile."""
        await self._places.acquire()
        try:
            self._running()
        except BrokerError:
            self._places.release()
            raise
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome) -> None:
            self._places.release()
            if isinstance(outcome, Exception):
                if not result.cancelled():
                    result.set_exception(outcome)
                return
            if then is not None:
                then(outcome)
            if not result.cancelled():
                result.set_result(outcome)

        self._writer.submit(Job(work, done, id))
        return await result

    def _hand_out(self) -> None:
        """Deliver what was stored."""
        stored, self._stored = self._stored, {}
        for channel, publications in stored.items():
            self._deliver(channel, *publications)

    def _keep(self, channel: str, publication: Publication, size: int, ttl: float) -> None:
        """Have in memory what was stored."""
        stream = self._streams.get(channel)
        if stream is not None:
            stream.append(publication, min(size, RING), ttl)
            self._expiry.watch(channel, stream)
            stream.whole = stream.kept >= size or (stream.whole and stream.kept < RING)

    def _load(self, channel: str, newest: Slice) -> None:
        """Have in memory what is stored; in order with what is published meanwhile, as one thread does both."""
        if channel in self._subscribed and channel not in self._streams:
            stream = self._streams[channel] = Stream.of(newest.publications, newest.top, newest.ttl, newest.base)
            self._expiry.watch(channel, stream)


class Writer:
    """The thread that has the database: it runs jobs, those that wait in one transaction.

    Args:
        open: opens the store; called in the thread.
        now: milliseconds since 1970.
        finished: called in the event loop when jobs are done, before the tasks that wait for them go on.
    """

    def __init__(self, open: Callable[[], SQLiteStore], now: Callable[[], int], finished: Callable[[], None]) -> None:
        self._open = open
        self._now = now
        self._finished = finished
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._committed: deque[tuple[Job, Outcome]] = deque()
        self._ended: asyncio.Future[None] | None = None

    async def start(self) -> str:
        """Start the thread; returns the epoch of the store.

        Raises:
            BrokerError: if it can't be opened.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[str] = loop.create_future()
        self._ended = loop.create_future()
        threading.Thread(
            target=self._run, args=(loop, opened, self._ended), name="trunkline-sqlite", daemon=True
        ).start()
        try:
            return await opened
        except asyncio.CancelledError:
            self._jobs.put(None)
            raise

    def submit(self, job: Job) -> None:
        """Have a job done, after all those before it."""
        self._jobs.put(job)

    async def stop(self) -> None:
        """Do what was submitted, close the store, and end the thread."""
        if self._ended is not None:
            if not self._ended.done():
                self._jobs.put(None)
            await asyncio.shield(self._ended)
            self._finish(len(self._committed))

    def _settle(self, jobs: list[Job], outcomes: list[Outcome]) -> None:
        """Finish jobs of the thread: what was committed while the loop was busy together, but some at a time."""
        if not self._committed:
            asyncio.get_running_loop().call_soon(self._go_on)
        self._committed.extend(zip(jobs, outcomes, strict=True))

    def _go_on(self) -> None:
        try:
            self._finish(AT_ONCE)
        finally:
            if self._committed:
                asyncio.get_running_loop().call_soon(self._go_on)

    def _finish(self, most: int) -> None:
        for _ in range(min(most, len(self._committed))):
            job, outcome = self._committed.popleft()
            job.done(outcome)
        self._finished()

    # In the thread

    def _run(self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[str], ended: asyncio.Future[None]) -> None:
        def tell(callback: Callable[..., object], *args: Any) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and no task listens
                loop.call_soon_threadsafe(callback, *args)

        try:
            store = self._open()
        except Exception as error:
            tell(_resolve, opened, error)
            tell(_resolve, ended, None)
            return
        tell(_resolve, opened, store.epoch)
        open = True
        while open:
            jobs, open = self._take()
            tell(self._settle, jobs, self._commit(store, jobs))
        with contextlib.suppress(Exception):  # everything was committed
            store.close()
        tell(_resolve, ended, None)

    def _take(self) -> tuple[list[Job], bool]:
        """All jobs that wait, or the next one; and whether there will be more."""
        jobs: list[Job] = []
        with contextlib.suppress(queue.Empty):
            while len(jobs) < TOGETHER:
                job = self._jobs.get(block=not jobs)
                if job is None:
                    return jobs, False
                jobs.append(job)
        return jobs, True

    def _commit(self, store: SQLiteStore, jobs: list[Job]) -> list[Outcome]:
        """Run jobs in one transaction; if that fails, each in its own, so that one can't spoil the others."""
        try:
            return self._together(store, jobs)
        except Exception as error:
            if len(jobs) == 1:
                return [describe(store.path, error)]
            return [outcome for job in jobs for outcome in self._commit(store, [job])]

    def _together(self, store: SQLiteStore, jobs: list[Job]) -> list[Any]:
        store.begin()
        try:
            store.recall({job.id for job in jobs if job.id is not None})
            results = [job.work(store) for job in jobs]
            store.commit(self._now())
        except BaseException:
            store.rollback()
            raise
        return results


def _resolve(future: asyncio.Future[Any], outcome: Outcome) -> None:
    if not future.done():
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
