"""The subscriptions with which a connection begins: those of its token and its hook, and those that it had before."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from typing import NamedTuple

from trunkline.realtime.codes import Refused
from trunkline.realtime.commands.auth import overridden
from trunkline.realtime.commands.permissions import permit
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.subscriptions.entering import Subscriptions, Unsubscribed
from trunkline.realtime.wire.messages import SubscribeRequest, SubscribeResult

__all__ = ["ServerSide", "put_into_channels", "resume"]


class ServerSide(NamedTuple):
    """The words of a token about a channel that the server subscribes its client to."""

    info: bytes | None = None
    data: bytes | None = None
    override: Mapping[str, bool] = {}


async def put_into_channels(
    subscriptions: Subscriptions,
    client: Client,
    named: Mapping[str, SubscribeRequest],
    server_side: Mapping[str, ServerSide],
) -> dict[str, SubscribeResult]:
    """Subscribe a client that connects to the channels that its token, or the connect hook, names.

    Args:
        subscriptions: begins them.
        client: the client, with `channels`.
        named: the channels that the client names, with where it stands.
        server_side: the words of its token about channels.
    """
    subs: dict[str, SubscribeResult] = {}
    for name in client.channels:
        granted = server_side.get(name, ServerSide())
        with contextlib.suppress(Unsubscribed):
            async with subscriptions.beginning(client, name, server_side=True) as subscription:
                subscription.options = overridden(subscription.options, granted.override)
                request = named.get(name, SubscribeRequest())
                subs[name] = await subscriptions.enter(client, subscription, request, granted.info)
                subs[name].data = client.codec.extra(granted.data)
    return subs


async def resume(
    subscriptions: Subscriptions, client: Client, named: Mapping[str, SubscribeRequest]
) -> dict[str, SubscribeResult]:
    """Subscribe a client again to the channels that it names, where the server had put it while it was here before.

    The client may name any: it gets those that it might subscribe to itself. Client libraries take leave of others.
    """
    subs: dict[str, SubscribeResult] = {}
    others = (name for name in named if name not in client.channels)
    for name in itertools.islice(others, subscriptions.limits.channels):
        with contextlib.suppress(Refused, Unsubscribed):
            async with subscriptions.beginning(client, name, server_side=True) as subscription:
                data = await permit(client, subscription, None)
                subs[name] = await subscriptions.enter(client, subscription, named[name])
                subs[name].data = client.codec.payload(data)
    return subs
