"""The tables behind `sqlite:///`, for one thread; no asyncio here.

Offsets are given out inside the transaction that stores them, so that one that is rolled back was never given out. Rows
are collected and written many at a time. Each statement releases the interpreter lock, and to get it back can take long
in a busy process.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from trunkline.realtime.brokers.base import ID_TTL, BrokerError
from trunkline.realtime.brokers.local import milliseconds
from trunkline.realtime.publication import ClientInfo, Publication

__all__ = ["Appended", "SQLiteStore", "Slice", "Synchronous", "describe"]

Synchronous = Literal["full", "normal"]

APPLICATION_ID: Final = 0x74726C6E  # "trln": tells our files from those of other programs
VERSION: Final = 1
SCHEMA: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE channels (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    top INTEGER NOT NULL,       -- offset of the newest publication
    base INTEGER NOT NULL,      -- offset up to which publications are forgotten
    ttl INTEGER NOT NULL,       -- milliseconds
    published INTEGER NOT NULL  -- milliseconds since 1970
);
CREATE INDEX channels_published ON channels (published);
CREATE INDEX channels_kept ON channels (published) WHERE base < top;
CREATE TABLE publications (
    channel INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    time INTEGER NOT NULL,      -- milliseconds since 1970
    data BLOB NOT NULL,
    extra BLOB,                 -- MessagePack: [info, tags, key]
    PRIMARY KEY (channel, offset)
) WITHOUT ROWID;
CREATE TABLE ids (
    channel INTEGER NOT NULL,
    id TEXT NOT NULL,
    offset INTEGER NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (channel, id)
) WITHOUT ROWID;
CREATE INDEX ids_time ON ids (time);
"""

ROWS: Final = 100  # in one statement; SQLite takes 999 parameters at least
CACHED: Final = 10_000  # channels whose rows are held in memory
TIDY: Final = 60_000  # milliseconds between two looks for rows that are no longer needed
FORGOTTEN: Final = 50  # channels at each look, so that it doesn't take long

# What SQLite's result codes (https://sqlite.org/rescode.html) mean to who runs the server.
ADVICE: Final = {
    sqlite3.SQLITE_BUSY: "another process uses it, and only one may; stop that one, or give each a store of its own",
    sqlite3.SQLITE_CANTOPEN: "it can't be opened; look whether its directory exists, and at the permissions of both",
    sqlite3.SQLITE_CORRUPT: "it is damaged; move it away, and bring back a copy or start with an empty one",
    sqlite3.SQLITE_FULL: "the disk is full; make room",
    sqlite3.SQLITE_IOERR: "the disk fails, or is full; look into the log of the system",
    sqlite3.SQLITE_IOERR_LOCK: "it can't be locked; look at the permissions of file and directory, and where it lies",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database; choose another path",
    sqlite3.SQLITE_PERM: "it may not be opened; look at the permissions of file and directory",
    sqlite3.SQLITE_READONLY: "it may not be written; look at the permissions of file and directory",
}

_Extra = tuple[ClientInfo | None, dict[str, str] | None, str]
_encode_extra = msgspec.msgpack.Encoder().encode
_decode_extra = msgspec.msgpack.Decoder(_Extra).decode


class Appended(NamedTuple):
    """The outcome of a publication: its offset, and whether it is new, or was published under its id before."""

    offset: int
    new: bool


class Slice(NamedTuple):
    """Part of a channel's history.

    Attributes:
        top: offset of the newest publication there was.
        base: offset up to which publications are forgotten.
        ttl: seconds that publications are kept.
        publications: those asked for.
    """

    top: int
    base: int
    ttl: float
    publications: list[Publication]


class _Channel:
    """A row of the table channels."""

    __slots__ = ("base", "id", "name", "published", "top", "ttl")

    def __init__(self, id: int, name: str, top: int, base: int, ttl: int, published: int) -> None:
        self.id = id
        self.name = name
        self.top = top
        self.base = base
        self.ttl = ttl
        self.published = published

    def row(self) -> tuple[int, str, int, int, int, int]:
        return self.id, self.name, self.top, self.base, self.ttl, self.published


class SQLiteStore:
    """History in a file, which this process has to itself.

    Call `begin`, `recall`, any of the methods about channels, and `commit`; after any exception,
    call `rollback`.

    Args:
        path: of the file, which is made if there is none.
        synchronous: "full" if publications must survive a power failure, too. With "normal", a store that wasn't closed
            starts a new epoch, as publications may be lost.
        idle: seconds after which a channel without publications is forgotten.
        patience: seconds to wait for another process to let go of the file.

    Attributes:
        epoch: of all channels.
        floor: offset at which channels without publications begin.
    """

    def __init__(self, path: str | Path, *, synchronous: Synchronous, idle: float, patience: float) -> None:
        self.path = path
        self.epoch = ""
        self.floor = 0
        self._synchronous = synchronous
        self._idle = milliseconds(max(idle, ID_TTL))  # a channel must not be forgotten before its ids
        self._tidy_at = 0
        self._last_id = 0
        self._channels: dict[str, _Channel] = {}
        self._changed: dict[str, _Channel] = {}
        self._rows: list[tuple[int, int, int, bytes, bytes | None]] = []  # of publications, not yet in the table
        self._ids: list[tuple[int, str, int, int]] = []  # rows of ids, not yet in the table
        self._known: dict[tuple[str, str], tuple[int, int]] = {}  # channel and id -> offset and time
        self._db = self._connect(patience)
        try:
            self._open()
        except Exception as error:
            self._db.close()
            raise describe(path, error) from error

    def close(self) -> None:
        """Leave a single file, which another process may open."""
        try:
            if self._synchronous == "normal":
                self._mark("clean")
        finally:
            self._db.close()

    def begin(self) -> None:
        """Begin a transaction."""
        self._db.execute("BEGIN")

    def recall(self, ids: Iterable[tuple[str, str]]) -> None:
        """Look up ids of publications that will be appended in this transaction, each with the name of its channel."""
        self._known.clear()
        for some in _chunks(list(ids)):
            for name, id, offset, time in self._db.execute(
                f"SELECT name, ids.id, offset, time FROM (VALUES {_places(some)}) CROSS JOIN channels"
                " ON name = column1 CROSS JOIN ids ON ids.channel = channels.id AND ids.id = column2",
                [value for row in some for value in row],
            ):
                self._known[name, id] = offset, time

    def commit(self, now: int) -> None:
        """Store all that was done since `begin`; it is safe when this returns. `now`: milliseconds since 1970."""
        if self._changed and now >= self._tidy_at:  # not if it was only read, which should work on a full disk, too
            self._flush()
            self._tidy(now)
        self._flush()
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        """Forget all that was done since `begin`."""
        self._rows.clear()
        self._ids.clear()
        self._changed.clear()
        self._channels.clear()
        if self._db.in_transaction:  # some errors end it
            self._db.execute("ROLLBACK")
        self._read_meta()

    def append(self, name: str, publication: Publication, size: int, ttl: float, id: str | None) -> Appended:
        """Add a publication, whose time is set, to a channel, and forget those beyond `size`. Its id was recalled."""
        channel = self._channel(name) or self._new_channel(name)
        if id is not None and (first := self._remember(channel, id, publication.time)) is not None:
            return Appended(first, False)
        channel.top += 1
        channel.base = max(channel.base, channel.top - size)
        channel.ttl = milliseconds(ttl)
        channel.published = publication.time
        self._changed[name] = channel
        extra = (publication.info, publication.tags, publication.key)
        encoded = None if extra == (None, None, "") else _encode_extra(extra)
        self._rows.append((channel.id, channel.top, publication.time, publication.data, encoded))
        return Appended(channel.top, True)

    def read(self, name: str, now: int, since: int | None, limit: int | None, reverse: bool) -> Slice:
        """Publications of a channel; arguments as for `Broker.history`, `since` without its epoch."""
        self._flush()
        channel = self._channel(name)
        if channel is None:
            return Slice(self.floor, self.floor, 0, [])
        base = self._expired(channel, now)
        lowest, highest = base, channel.top
        if since is not None and reverse:
            highest = min(highest, since - 1)
        elif since is not None:
            lowest = min(highest, max(lowest, since))
        rows = self._db.execute(
            "SELECT offset, time, data, extra FROM publications WHERE channel = ? AND offset > ? AND offset <= ?"
            f" ORDER BY offset {'DESC' if reverse else 'ASC'} LIMIT ?",
            (channel.id, lowest, highest, -1 if limit is None else min(limit, highest)),
        )
        return Slice(channel.top, base, channel.ttl / 1000, [_publication(*row) for row in rows])

    def remove(self, name: str) -> None:
        """Forget the publications of a channel."""
        self._flush()
        channel = self._channel(name)
        if channel is not None:
            channel.base = channel.top
            self._changed[name] = channel

    # Files

    def _connect(self, patience: float) -> sqlite3.Connection:
        try:
            return sqlite3.connect(self.path, timeout=patience, isolation_level=None, cached_statements=512)
        except sqlite3.Error as error:
            raise describe(self.path, error) from error

    def _open(self) -> None:
        # Before anything is read: then there is no shared memory, and no other process gets in (sqlite.org/wal.html).
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        [[application]] = self._db.execute("PRAGMA application_id")
        [[version]] = self._db.execute("PRAGMA user_version")
        if (application, version) != (APPLICATION_ID, VERSION):
            self._create(application, version)
        [[mode]] = self._db.execute("PRAGMA journal_mode = WAL")
        if mode != "wal":
            raise BrokerError(f"the store {self.path} can't have a write-ahead log; choose another file system")
        self._prepare()

    def _create(self, application: int, version: int) -> None:
        self._db.execute("BEGIN EXCLUSIVE")
        [[tables]] = self._db.execute("SELECT count(*) FROM sqlite_master")
        if application == APPLICATION_ID:
            raise BrokerError(f"the store {self.path} has format {version}, and this trunkline knows {VERSION} only")
        if tables or application:
            raise BrokerError(f"the database {self.path} belongs to another program; choose another path")
        for statement in SCHEMA.split(";\n"):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        self._db.execute(f"PRAGMA user_version = {VERSION}")
        rows = [("epoch", _new_epoch()), ("floor", 0), ("state", "clean")]
        self._db.executemany("INSERT INTO meta VALUES (?, ?)", rows)
        self._db.execute("COMMIT")

    def _prepare(self) -> None:
        """Read what stands for the whole store, and take it into use."""
        if self._read_meta() != "clean":  # a crash, and it was left to the system when to write
            self._db.execute("UPDATE meta SET value = ? WHERE name = 'epoch'", (_new_epoch(),))
        self._mark("clean" if self._synchronous == "full" else "dirty")
        self._read_meta()
        self._db.execute(f"PRAGMA synchronous = {self._synchronous}")
        [[self._last_id]] = self._db.execute("SELECT coalesce(max(id), 0) FROM channels")

    def _mark(self, state: str) -> None:
        """Note whether all that was committed is on the disk; the note itself is when this returns."""
        self._db.execute("PRAGMA synchronous = full")
        self._db.execute("UPDATE meta SET value = ? WHERE name = 'state'", (state,))

    def _read_meta(self) -> str:
        meta = dict(self._db.execute("SELECT name, value FROM meta"))
        self.epoch, self.floor = meta["epoch"], meta["floor"]
        return str(meta["state"])

    # Rows

    def _channel(self, name: str) -> _Channel | None:
        channel = self._channels.get(name)
        if channel is None:
            row = self._db.execute(
                "SELECT id, name, top, base, ttl, published FROM channels WHERE name = ?", (name,)
            ).fetchone()
            if row is not None:
                channel = self._cache(_Channel(*row))
        return channel

    def _new_channel(self, name: str) -> _Channel:
        self._last_id += 1
        return self._cache(_Channel(self._last_id, name, self.floor, self.floor, 0, 0))

    def _cache(self, channel: _Channel) -> _Channel:
        if len(self._channels) >= CACHED:
            self._flush()
            self._channels.clear()
        self._channels[channel.name] = channel
        return channel

    def _remember(self, channel: _Channel, id: str, now: int) -> int | None:
        """The offset of the publication that has this id already; otherwise the next one has it."""
        offset, time = self._known.get((channel.name, id), (0, 0))
        if time > now - ID_TTL * 1000:
            return offset
        self._known[channel.name, id] = channel.top + 1, now
        self._ids.append((channel.id, id, channel.top + 1, now))
        return None

    def _expired(self, channel: _Channel, now: int) -> int:
        """The offset up to which the publications of a channel are forgotten, or too old."""
        if channel.published + channel.ttl <= now:
            return channel.top
        row = self._db.execute(
            "SELECT offset FROM publications WHERE channel = ? AND offset > ? AND time > ? ORDER BY offset LIMIT 1",
            (channel.id, channel.base, now - channel.ttl),
        ).fetchone()
        return channel.top if row is None else row[0] - 1

    def _flush(self) -> None:
        """Write what was collected."""
        for some in _chunks(self._rows):
            self._db.execute(
                f"INSERT INTO publications VALUES {_places(some)}", [value for row in some for value in row]
            )
        self._rows.clear()
        for some in _chunks(self._ids):
            self._db.execute(
                f"INSERT OR REPLACE INTO ids VALUES {_places(some)}", [value for row in some for value in row]
            )
        self._ids.clear()
        for some in _chunks([channel.row() for channel in self._changed.values()]):
            self._db.execute(
                f"INSERT OR REPLACE INTO channels VALUES {_places(some)}", [value for row in some for value in row]
            )
            self._db.execute(
                "DELETE FROM publications WHERE (channel, offset) IN (SELECT publications.channel, offset FROM channels"
                " JOIN publications ON publications.channel = channels.id AND offset <= base"
                f" WHERE channels.id IN ({','.join('?' * len(some))}))",
                [id for id, *_ in some],
            )
        self._changed.clear()

    def _tidy(self, now: int) -> None:
        """Forget ids and channels whose time is over, and the publications of channels that rest."""
        self._channels.clear()
        self._db.execute("DELETE FROM ids WHERE time <= ?", (now - ID_TTL * 1000,))
        resting = self._db.execute(
            "SELECT id FROM channels WHERE base < top AND published + ttl <= ? ORDER BY published LIMIT ?",
            (now, FORGOTTEN),
        ).fetchall()
        self._db.executemany("DELETE FROM publications WHERE channel = ?", resting)
        self._db.executemany("UPDATE channels SET base = top WHERE id = ?", resting)
        idle = self._db.execute(
            "SELECT id, top FROM channels WHERE base = top AND published <= ? ORDER BY published LIMIT ?",
            (now - self._idle, FORGOTTEN),
        ).fetchall()
        self._db.executemany("DELETE FROM channels WHERE id = ?", [(id,) for id, _ in idle])
        self.floor = max([self.floor, *(top for _, top in idle)])
        self._db.execute("UPDATE meta SET value = ? WHERE name = 'floor'", (self.floor,))
        there_may_be_more = FORGOTTEN in (len(resting), len(idle))
        self._tidy_at = now if there_may_be_more else now + TIDY


def describe(path: str | Path, error: Exception) -> BrokerError:
    """An error of a store in words for who runs the server."""
    if isinstance(error, BrokerError):
        return error
    code = getattr(error, "sqlite_errorcode", 0)
    advice = ADVICE.get(code) or ADVICE.get(code & 0xFF)  # the lower eight bits are the kind of error
    return BrokerError(f"the store {path} failed ({error})" + (f": {advice}" if advice else ""))


def _new_epoch() -> str:
    return secrets.token_urlsafe(6)


def _publication(offset: int, time: int, data: bytes, extra: bytes | None) -> Publication:
    info, tags, key = (None, None, "") if extra is None else _decode_extra(extra)
    return Publication(data, offset, time, info, tags, key)


def _chunks(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    """As many at a time as fit into one statement."""
    return (rows[start : start + ROWS] for start in range(0, len(rows), ROWS))


def _places(rows: Sequence[tuple[Any, ...]]) -> str:
    """Placeholders for all values of all rows."""
    row = f"({','.join('?' * len(rows[0]))})"
    return ",".join([row] * len(rows))
