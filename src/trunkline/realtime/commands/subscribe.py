"""The commands subscribe and unsubscribe."""

from __future__ import annotations

from trunkline.realtime import codes
from trunkline.realtime.codes import Refused
from trunkline.realtime.commands.auth import Auth, overridden
from trunkline.realtime.commands.ends import Ends
from trunkline.realtime.commands.permissions import permit
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.subscriptions.entering import Subscriptions, Unsubscribed, tell_end
from trunkline.realtime.wire.messages import (
    SubscribeRequest,
    SubscribeResult,
    UnsubscribeRequest,
    UnsubscribeResult,
    as_bytes,
    seconds,
)

__all__ = ["Subscribing"]


class Subscribing:
    """Carries out the commands.

    Args:
        subscriptions: begins and ends subscriptions.
        auth: checks tokens.
        ends: knows when subscriptions end.
    """

    def __init__(self, subscriptions: Subscriptions, auth: Auth, ends: Ends) -> None:
        self.subscriptions = subscriptions
        self.auth = auth
        self.ends = ends

    async def subscribe(self, client: Client, id: int, request: SubscribeRequest) -> None:
        """Subscribe a client. If the server unsubscribes it meanwhile, it is answered first, then told the end."""
        try:
            await self._join(client, id, request)
        except Unsubscribed as ended:
            client.reply(id, subscribe=SubscribeResult(was_recovering=request.recover))
            tell_end(client, request.channel, ended.code)

    async def _join(self, client: Client, id: int, request: SubscribeRequest) -> None:
        async with self.subscriptions.joining(client, request.channel) as subscription:
            _refuse_what_is_for_later(request)
            token = None
            if self.auth.tokens is not None and request.token:
                token = self.auth.subscription(request.token, user=client.user, channel=request.channel)
                subscription.options = overridden(subscription.options, token.override)
            said = await permit(client, subscription, as_bytes(request.data), with_token=token is not None)
            data = client.codec.payload(said)
            info = None if token is None else token.info
            result = await self.subscriptions.enter(client, subscription, request, info)
            ttl = None if token is None else self.auth.time_left(token.ends_at)
            self.ends.subscription(client, subscription, ttl)
            result.expires, result.ttl = ttl is not None, seconds(ttl)
            result.data = data
            client.reply(id, subscribe=result)

    async def unsubscribe(self, client: Client, id: int, request: UnsubscribeRequest) -> None:
        """End a subscription of a client; without effect if it has none."""
        subscription = client.subscriptions.get(request.channel)
        if subscription is not None:
            await self.subscriptions.end(client, subscription)
        client.reply(id, unsubscribe=UnsubscribeResult())


def _refuse_what_is_for_later(request: SubscribeRequest) -> None:
    if request.type:
        raise Refused(codes.NOT_AVAILABLE, "only subscriptions to streams are supported")
    if request.tf is not None:
        raise Refused(codes.NOT_AVAILABLE, "filters by tags aren't supported")
