"""Brokers carry publications between nodes and keep the history of channels."""

from __future__ import annotations

from typing import cast
from urllib.parse import parse_qs, unquote, urlsplit

from trunkline.realtime.brokers.base import Broker, BrokerError, BrokerEvents, History, Uncertain
from trunkline.realtime.brokers.memory import MemoryBroker
from trunkline.realtime.brokers.nats import NatsBroker
from trunkline.realtime.brokers.nats.address import SCHEMES as NATS
from trunkline.realtime.brokers.redis import RedisBroker
from trunkline.realtime.brokers.redis.address import SCHEMES as REDIS
from trunkline.realtime.brokers.sqlite import SQLiteBroker
from trunkline.realtime.brokers.sqlite_store import Synchronous

__all__ = [
    "Broker",
    "BrokerError",
    "BrokerEvents",
    "History",
    "MemoryBroker",
    "NatsBroker",
    "RedisBroker",
    "SQLiteBroker",
    "Uncertain",
    "broker_from_url",
]


def broker_from_url(url: str) -> Broker:
    """The broker that a URL names.

    * `memory://`: a `MemoryBroker`, whose history is gone with the process.
    * `sqlite:///history.db`, `sqlite:////var/lib/app/history.db`: an `SQLiteBroker`, whose history outlives it. A
      path follows after three slashes; a fourth begins an absolute one. `?synchronous=normal` as for `SQLiteBroker`.
    * `redis://HOST:PORT/DB`, `rediss://…`, `unix:///run/redis.sock`: a `RedisBroker`, which several nodes share.
    * `nats://HOST:PORT`, `tls://…`: a `NatsBroker`, which several nodes share, too.

    Raises:
        ValueError: if the URL names none.
    """
    parts = urlsplit(url)
    if url == "memory://":
        return MemoryBroker()
    if parts.scheme in REDIS:
        return RedisBroker(url)
    if parts.scheme in NATS:
        return NatsBroker(url)
    if parts.scheme != "sqlite":
        raise ValueError(f"{url!r} names no broker; write memory://, sqlite:///PATH, redis://HOST or nats://HOST")
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise ValueError(f"{url!r} has no path; write sqlite:///history.db, or memory:// to keep nothing")
    options = parse_qs(parts.query, keep_blank_values=True)
    synchronous = ",".join(options.pop("synchronous", ["full"]))
    if options:
        raise ValueError(f"{url!r} has an unknown option {next(iter(options))!r}; there is only synchronous")
    return SQLiteBroker(path, synchronous=cast(Synchronous, synchronous))
