"""Whether a client may do what it asks."""

from __future__ import annotations

from trunkline.realtime import codes
from trunkline.realtime.codes import Refused
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.subscription import Subscription
from trunkline.realtime.options import Who
from trunkline.realtime.program.channels import Channel, Channels
from trunkline.realtime.program.hooks import call

__all__ = ["look_up", "may", "permit"]


def look_up(channels: Channels, client: Client, name: str) -> tuple[Channel, dict[str, str], Subscription | None]:
    """The declared channel of a name, the parameters in the name, and the client's subscription, if it has one.

    Raises:
        Refused: if no such channel is declared.
    """
    subscription = client.standing.get(name)
    if subscription is not None:
        return subscription.channel, subscription.parameters, subscription
    return *channels.get(name), None


def may(who: Who, client: Client, subscription: Subscription | None) -> bool:
    """Whether a client is among those who may."""
    if who == "subscribers":
        return subscription is not None and subscription.info is not None
    return who == "anyone" or (who == "users" and client.user != "")


async def permit(
    client: Client, subscription: Subscription, data: bytes | None, *, with_token: bool = False
) -> bytes | None:
    """Ask whether a client may subscribe.

    Args:
        client: the client.
        subscription: that it begins.
        data: that it sent along.
        with_token: whether it has a token for the channel.

    Returns:
        The payload that the program has for the client.

    Raises:
        Refused: if it may not.
    """
    channel = subscription.channel
    who = channel.options.subscribe
    if not (may(who, client, subscription) or (with_token and who != "nobody")):
        raise Refused(codes.PERMISSION_DENIED)
    return await call(channel.subscribe_hook, client, data, subscription.parameters)
