"""Rooms over NATS."""

from __future__ import annotations

from trunkline.realtime.brokers.nats.broker import NatsBroker
from trunkline.realtime.brokers.nats.control import NatsControl
from trunkline.realtime.brokers.nats.presence import NatsPresence

__all__ = ["NatsBroker", "NatsControl", "NatsPresence"]
