"""Presence: which clients are in which channel."""

from __future__ import annotations

from trunkline.realtime.presence.base import Presence, PresenceEntry, PresenceStats
from trunkline.realtime.presence.memory import MemoryPresence

__all__ = ["MemoryPresence", "Presence", "PresenceEntry", "PresenceStats"]
