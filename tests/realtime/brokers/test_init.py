"""URLs name brokers."""

import re
from pathlib import Path

import pytest

from trunkline.realtime.brokers import MemoryBroker, SQLiteBroker, broker_from_url


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
    ("url", "complaint"),
    [
        ("", "write memory:// or sqlite:///PATH"),
        ("history.db", "write memory:// or sqlite:///PATH"),
        ("redis://localhost", "write memory:// or sqlite:///PATH"),
        ("memory://x", "write memory:// or sqlite:///PATH"),
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
