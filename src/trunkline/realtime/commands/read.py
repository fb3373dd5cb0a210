"""The commands that read: history, presence and presence_stats."""

from __future__ import annotations

from trunkline.realtime import codes
from trunkline.realtime.brokers.base import Broker
from trunkline.realtime.codes import Refused
from trunkline.realtime.commands.permissions import look_up, may
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.presence.base import Presence
from trunkline.realtime.program.channels import Channel
from trunkline.realtime.subscriptions.entering import Subscriptions
from trunkline.realtime.wire.messages import (
    HistoryRequest,
    HistoryResult,
    PresenceRequest,
    PresenceResult,
    PresenceStatsRequest,
    PresenceStatsResult,
)

__all__ = ["Reading"]


class Reading:
    """Carries out the commands.

    Args:
        subscriptions: knows the channels, the limits and positions in the history.
        broker: has the history.
        presence: knows the members.
    """

    def __init__(self, subscriptions: Subscriptions, broker: Broker, presence: Presence) -> None:
        self.subscriptions = subscriptions
        self.broker = broker
        self.presence = presence

    async def history(self, client: Client, id: int, request: HistoryRequest) -> None:
        """Read the history of a channel."""
        channel = self._readable(client, request.channel)
        if not channel.options.history:
            raise Refused(codes.NOT_AVAILABLE)
        name, asked = request.channel, request.since
        if request.reverse and asked is not None and not asked.offset:
            raise Refused(codes.BAD_REQUEST, "nothing stands before offset 0: with reverse, since must be 1 or more")
        since = None if asked is None else await self.subscriptions.position(name, asked.offset, asked.epoch)
        most = self.subscriptions.limits.history
        limit = most if request.limit < 0 else min(request.limit, most)
        history = await self.broker.history(name, since=since, limit=limit, reverse=request.reverse)
        position = history.position
        if since is not None and since.epoch != position.epoch:
            raise Refused(codes.UNRECOVERABLE_POSITION)
        publications = self.subscriptions.told.tell(client.codec, history.publications)
        client.reply(id, history=HistoryResult(publications, position.epoch, position.offset))

    async def members(self, client: Client, id: int, request: PresenceRequest) -> None:
        """Tell the members of a channel."""
        self._readable(client, request.channel, presence=True)
        present = await self.presence.get(request.channel)
        shown = {name: client.codec.info(info) for name, info in present.items()}
        client.reply(id, presence=PresenceResult(shown))

    async def stats(self, client: Client, id: int, request: PresenceStatsRequest) -> None:
        """Tell the numbers of a channel."""
        self._readable(client, request.channel, presence=True)
        stats = await self.presence.stats(request.channel)
        client.reply(id, presence_stats=PresenceStatsResult(stats.clients, stats.users))

    def _readable(self, client: Client, name: str, *, presence: bool = False) -> Channel:
        channel, _, subscription = look_up(self.subscriptions.channels, client, name)
        if presence and not (channel.options if subscription is None else subscription.options).presence:
            raise Refused(codes.NOT_AVAILABLE)
        if not may(channel.options.read, client, subscription):
            raise Refused(codes.PERMISSION_DENIED)
        return channel
