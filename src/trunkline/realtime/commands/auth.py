"""Tokens of clients: what they open, and the answers of the protocol to those that are no good."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trunkline.realtime import codes
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.options import ChannelOptions

if TYPE_CHECKING:
    from trunkline.realtime.tokens import ConnectionToken, SubscriptionToken, Tokens

__all__ = ["Auth", "overridden"]

logger = logging.getLogger("trunkline.realtime")


class Auth:
    """Checks tokens.

    Args:
        tokens: has the keys; None if clients need no tokens.
        clock: seconds since 1970.
    """

    def __init__(self, tokens: Tokens | None, clock: Callable[[], float]) -> None:
        self.tokens = tokens
        self.clock = clock

    def connection(self, token: str) -> ConnectionToken:
        """Check the token of a connection.

        Raises:
            Refused: 108 if nothing checks tokens; 109 if its time is over: the client library gets a new one.
            Disconnected: 3500 if it is no good: it is no use to come back.
        """
        if self.tokens is None:
            raise Refused(codes.NOT_AVAILABLE)
        from trunkline.realtime.tokens import InvalidToken, TokenExpired  # needs PyJWT, as `tokens` did

        try:
            return self.tokens.verify_connection(token)
        except TokenExpired:
            raise Refused(codes.TOKEN_EXPIRED) from None
        except InvalidToken as error:
            logger.info("a connection was refused: %s", error)
            raise Disconnected(codes.INVALID_TOKEN) from None

    def subscription(self, token: str, *, user: str, channel: str) -> SubscriptionToken:
        """Check the token of a subscription.

        Raises:
            Refused: 108 if nothing checks tokens; 109 if its time is over; 103 if it is no good.
        """
        if self.tokens is None:
            raise Refused(codes.NOT_AVAILABLE)
        from trunkline.realtime.tokens import InvalidToken, TokenExpired

        try:
            return self.tokens.verify_subscription(token, user=user, channel=channel)
        except TokenExpired:
            raise Refused(codes.TOKEN_EXPIRED) from None
        except InvalidToken as error:
            logger.info("a subscription was refused: %s", error)
            raise Refused(codes.PERMISSION_DENIED) from None

    def time_left(self, ends_at: float | None) -> float | None:
        """Seconds until the end of what a token opens, None if there is none.

        Args:
            ends_at: seconds since 1970.

        Raises:
            Refused: 109 if it is over, as it may be after a hook that took its time. With 110, client libraries
                wouldn't get a new token, but give up.
        """
        if ends_at is None:
            return None
        now = self.clock()
        if ends_at <= now:
            raise Refused(codes.TOKEN_EXPIRED)
        return ends_at - now


def overridden(options: ChannelOptions, override: Mapping[str, bool]) -> ChannelOptions:
    """The options of one subscription whose token says otherwise; without history nothing can make it recover."""
    if not override:
        return options
    recovers = override.get("force_recovery", override.get("force_positioning"))
    return dataclasses.replace(
        options,
        presence=override.get("presence", options.presence),
        join_leave=override.get("force_push_join_leave", override.get("join_leave", options.join_leave)),
        recover=options.recover if recovers is None else (options.recover or "stream") if recovers else None,
    )
