"""Rooms over Redis or Valkey."""

from __future__ import annotations

from trunkline.realtime.brokers.redis.broker import RedisBroker
from trunkline.realtime.brokers.redis.control import RedisControl
from trunkline.realtime.brokers.redis.presence import RedisPresence

__all__ = ["RedisBroker", "RedisControl", "RedisPresence"]
