"""The commands refresh and sub_refresh: a client sends a new token before the old one ends."""

from __future__ import annotations

import inspect

from trunkline.realtime import codes
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.commands.auth import Auth
from trunkline.realtime.commands.connect import VERSION
from trunkline.realtime.commands.ends import Ends
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.program.functions import Functions
from trunkline.realtime.program.identity import as_ttl
from trunkline.realtime.subscriptions.entering import Subscriptions
from trunkline.realtime.wire.messages import (
    RefreshRequest,
    RefreshResult,
    SubRefreshRequest,
    SubRefreshResult,
    seconds,
)

__all__ = ["Refreshing"]


class Refreshing:
    """Carries out the commands.

    Args:
        functions: of the program.
        auth: checks tokens.
        ends: knows when connections and subscriptions end.
        subscriptions: ends those whose new token is over, too.
    """

    def __init__(self, functions: Functions, auth: Auth, ends: Ends, subscriptions: Subscriptions) -> None:
        self.functions = functions
        self.auth = auth
        self.ends = ends
        self.subscriptions = subscriptions

    async def refresh(self, client: Client, id: int, request: RefreshRequest) -> None:
        """Let a connection go on."""
        try:
            ttl = await self._ttl_of(client, request.token)
        except Refused as refused:
            if refused.code in (codes.TOKEN_EXPIRED, codes.EXPIRED):
                # To client libraries an error would be final; after this they come back, with a new token.
                raise Disconnected(codes.CONNECTION_EXPIRED) from None
            raise
        client.token, client.ttl = request.token, ttl
        self.ends.connection(client, ttl)
        client.reply(id, refresh=RefreshResult(client.id, VERSION, ttl is not None, seconds(ttl)))

    async def _ttl_of(self, client: Client, token: str) -> float | None:
        """For how long a new token is good."""
        if self.auth.tokens is not None and client.token:
            verified = self.auth.connection(token)
            if verified.user != client.user:
                raise Disconnected(codes.INVALID_TOKEN, "the new token is for another user")
            return self.auth.time_left(verified.ends_at)
        if self.functions.refresh is None:
            raise Refused(codes.NOT_AVAILABLE)
        said = self.functions.refresh(client, token)
        ttl = as_ttl("what the refresh hook returns", await said if inspect.isawaitable(said) else said)
        if ttl is not None and ttl <= 0:
            raise Refused(codes.TOKEN_EXPIRED)
        return ttl

    async def sub_refresh(self, client: Client, id: int, request: SubRefreshRequest) -> None:
        """Let a subscription go on."""
        subscription = client.subscriptions.get(request.channel)
        if subscription is None:
            # Client libraries give up a subscription for an error that isn't temporary, and this one may just have
            # ended, to be renewed.
            raise Refused(codes.PERMISSION_DENIED, "not subscribed", temporary=True)
        try:
            token = self.auth.subscription(request.token, user=client.user, channel=request.channel)
            ttl = self.auth.time_left(token.ends_at)
        except Refused as refused:
            if refused.code == codes.TOKEN_EXPIRED:
                await self.subscriptions.expire(client, subscription)
                raise Refused(codes.TOKEN_EXPIRED, temporary=True) from None
            raise
        self.ends.subscription(client, subscription, ttl)
        client.reply(id, sub_refresh=SubRefreshResult(ttl is not None, seconds(ttl)))
