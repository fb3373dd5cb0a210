"""URLs name brokers."""

import re
from pathlib import Path

import pytest

from trunkline.realtime.brokers import MemoryBroker, RedisBroker, SQLiteBroker, broker_from_url


def test_memory() -> None:
    assert isinstance(broker_from_url("memory://"), MemoryBroker)


@pytest.mark.parametrize(
    ("url", "path", "synchronous"),
    [
        ("sqlite:///history.db", "history.db", "full"),
        ("sqlite:///./data/history.db", "./data/history.db", "full"),
        ("sqlite:////var/lib/history.db", "/var/lib/history.db", "full"),
        ("sqlite:///a%20b%3F.db", "a b?.db", "full"),
        ("sqlite:///C:/data/history.db", "C:/data/history.db", "full"),
        ("sqlite:///history.db?synchronous=normal", "history.db", "normal"),
    ],
)
def test_sqlite(url: str, path: str, synchronous: str) -> None:
    broker = broker_from_url(url)
    assert isinstance(broker, SQLiteBroker)
    assert (Path(broker.path), broker.synchronous) == (Path(path), synchronous)


@pytest.mark.parametrize(
    ("url", "address", "prefix", "durable"),
    [
        ("redis://cache", "redis://cache:6379", "tl", False),
        ("rediss://:pw@cache:7/2?prefix=app&durable=1", "rediss://cache:7", "app", True),
        ("unix:///run/redis.sock?db=3&durable=0", "unix:///run/redis.sock", "tl", False),
    ],
)
def test_redis(url: str, address: str, prefix: str, durable: bool) -> None:
    broker = broker_from_url(url)
    assert isinstance(broker, RedisBroker)
    assert (str(broker.address), broker.prefix, broker.durable) == (address, prefix, durable)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "write memory://, sqlite:///PATH, redis://HOST or nats://HOST"),
        ("history.db", "write memory://, sqlite:///PATH, redis://HOST or nats://HOST"),
        ("memory://x", "write memory://, sqlite:///PATH, redis://HOST or nats://HOST"),
        ("redis://:secret@localhost/a", "'redis://localhost/a' names the database 'a'"),
        ("redis://localhost?durable=yes", "durable is 'yes'; it must be 0 or 1"),
        ("redis://localhost?prefix=a:b", "prefix is 'a:b'; it must be of letters"),
        ("redis://localhost?trust=1", "unknown option 'trust'; there are only prefix, durable"),
        ("nats://:secret@localhost/a", "'nats://localhost/a' names no NATS server"),
        ("nats://a:x", "has no valid port"),
        ("nats://localhost?prefix=a.b", "prefix is 'a.b'; it must be of letters"),
        ("nats://localhost?storage=tape", "storage is 'tape'; it must be one of file, memory"),
        ("nats://localhost?replicas=0", "replicas is 0; it must be at least 1"),
        ("nats://localhost?cap=many", "cap is 'many'; it must be a number"),
        ("nats://localhost?retain=long", "retain is 'long'; it must be a number of seconds, or with a unit"),
        ("nats://localhost?trust=1", "unknown option 'trust'; there are only prefix, storage"),
        ("sqlite://", "has no path"),
        ("sqlite:///", "has no path"),
        ("sqlite://history.db", "has no path"),
        ("sqlite:///history.db?sync=off", "unknown option 'sync'; there is only synchronous"),
        ("sqlite:///history.db?synchronous=off", "synchronous is 'off'; it must be full or normal"),
        ("sqlite:///history.db?synchronous=full&synchronous=normal", "synchronous is 'full,normal'; it must be"),
    ],
)
def test_no_broker(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        broker_from_url(url)
