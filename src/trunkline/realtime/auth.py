"""What tokens let clients do, and the answers of the protocol to those that are no good."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trunkline.realtime import codes
from trunkline.realtime.channels import ChannelOptions
from trunkline.realtime.codes import Disconnected, Refused

if TYPE_CHECKING:
    from trunkline.realtime.tokens import ConnectionToken, SubscriptionToken, Tokens

__all__ = ["overridden", "time_left", "verify_connection", "verify_subscription"]

logger = logging.getLogger("trunkline.realtime")


def verify_connection(tokens: Tokens, token: str) -> ConnectionToken:
    """What the token of a connection says.

    Raises:
        Refused: 109 if its time is over: the client library gets a new one.
        Disconnected: 3500 if it is no good: it is no use to come back.
    """
    from trunkline.realtime.tokens import InvalidToken, TokenExpired  # it needs PyJWT, which who has `tokens` has

    try:
        return tokens.verify_connection(token)
    except TokenExpired:
        raise Refused(codes.TOKEN_EXPIRED) from None
    except InvalidToken as error:
        logger.info("a connection was refused: %s", error)
        raise Disconnected(codes.INVALID_TOKEN) from None


def verify_subscription(tokens: Tokens, token: str, *, user: str, channel: str) -> SubscriptionToken:
    """What the token of a subscription says.

    Raises:
        Refused: 109 if its time is over, 103 if it is no good.
    """
    from trunkline.realtime.tokens import InvalidToken, TokenExpired

    try:
        return tokens.verify_subscription(token, user=user, channel=channel)
    except TokenExpired:
        raise Refused(codes.TOKEN_EXPIRED) from None
    except InvalidToken as error:
        logger.info("a subscription was refused: %s", error)
        raise Refused(codes.PERMISSION_DENIED) from None


def time_left(ends_at: float | None, now: float) -> float | None:
    """Seconds until the end of what a token opens, None if there is none. Both times are in seconds since 1970.

    Raises:
        Refused: 109 if it is over, as it may be after a hook that took its time. With 110, client libraries wouldn't
            get a new token, but give up.
    """
    if ends_at is None:
        return None
    if ends_at <= now:
        raise Refused(codes.TOKEN_EXPIRED)
    return ends_at - now


def overridden(options: ChannelOptions, override: Mapping[str, bool]) -> ChannelOptions:
    """What holds for one subscription whose token says otherwise; without history nothing can make it recover."""
    if not override:
        return options
    recovers = override.get("force_recovery", override.get("force_positioning"))
    return dataclasses.replace(
        options,
        presence=override.get("presence", options.presence),
        join_leave=override.get("force_push_join_leave", override.get("join_leave", options.join_leave)),
        recover=options.recover if recovers is None else (options.recover or "stream") if recovers else None,
    )
