"""Rooms over connections: channels with presence, history and recovery, for clients of the Centrifuge protocol."""

from __future__ import annotations

from trunkline.realtime.brokers import Broker, BrokerError, History, MemoryBroker, RedisBroker, SQLiteBroker, Uncertain
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.doors.browser import trunkline_js
from trunkline.realtime.doors.memory import MemoryClient, MemorySubscription
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.stats import ChannelStats, Stats
from trunkline.realtime.node import Realtime
from trunkline.realtime.options import ChannelOptions, Limits, Timeouts
from trunkline.realtime.presence import MemoryPresence, Presence, PresenceStats
from trunkline.realtime.program.channels import Channel
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition
from trunkline.realtime.wire.codecs import select_subprotocol

__all__ = [
    "Broker",
    "BrokerError",
    "Channel",
    "ChannelOptions",
    "ChannelStats",
    "Client",
    "ClientInfo",
    "Disconnected",
    "History",
    "Limits",
    "MemoryBroker",
    "MemoryClient",
    "MemoryPresence",
    "MemorySubscription",
    "Presence",
    "PresenceStats",
    "Publication",
    "Realtime",
    "RedisBroker",
    "Refused",
    "SQLiteBroker",
    "Stats",
    "StreamPosition",
    "Timeouts",
    "Uncertain",
    "select_subprotocol",
    "trunkline_js",
]
