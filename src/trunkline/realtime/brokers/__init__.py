"""Brokers carry publications between nodes and keep the history of channels."""

from __future__ import annotations

from urllib.parse import urlsplit

from trunkline.realtime.brokers.base import Broker, BrokerError, BrokerEvents, History
from trunkline.realtime.brokers.memory import MemoryBroker

__all__ = ["Broker", "BrokerError", "BrokerEvents", "History", "MemoryBroker", "broker_from_url"]


def broker_from_url(url: str) -> Broker:
    """The broker that a URL names.

    | URL | broker |
    | --- | --- |
    | `memory://` | `MemoryBroker`: history is gone with the process |

    Raises:
        ValueError: if the URL names none.
    """
    scheme = urlsplit(url).scheme
    if url == "memory://":
        return MemoryBroker()
    raise ValueError(f"{url!r} names no broker: its scheme {scheme!r} isn't memory; write memory://")
