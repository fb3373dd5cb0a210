"""Rooms over connections: channels with presence, history and recovery, for clients of the Centrifuge protocol."""

from __future__ import annotations

from trunkline.realtime.brokers import Broker, BrokerError, History, MemoryBroker, SQLiteBroker
from trunkline.realtime.browser import trunkline_js
from trunkline.realtime.channels import Channel, ChannelOptions
from trunkline.realtime.client import Client, Timeouts
from trunkline.realtime.codecs import select_subprotocol
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.presence import MemoryPresence, Presence, PresenceStats
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition
from trunkline.realtime.realtime import ChannelStats, Limits, Realtime, Stats

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
    "MemoryPresence",
    "Presence",
    "PresenceStats",
    "Publication",
    "Realtime",
    "Refused",
    "SQLiteBroker",
    "Stats",
    "StreamPosition",
    "Timeouts",
    "select_subprotocol",
    "trunkline_js",
]
