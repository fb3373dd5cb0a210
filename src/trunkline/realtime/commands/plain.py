"""Clients without a protocol: each is in one channel, and its messages are published there."""

from __future__ import annotations

import logging
from collections.abc import Callable

from trunkline.core.writer import PreparedMessage
from trunkline.realtime import codes
from trunkline.realtime.backpressure import wait_read
from trunkline.realtime.codes import Disconnected, Refused
from trunkline.realtime.commands.connect import introduce
from trunkline.realtime.commands.permissions import permit
from trunkline.realtime.commands.publish import Publishing
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.subscriptions.entering import Gone, Subscriptions, Unsubscribed, tell_end
from trunkline.realtime.wire.messages import SubscribeRequest
from trunkline.realtime.wire.plain import PlainCodec

__all__ = ["Plain"]

logger = logging.getLogger("trunkline.realtime")


class Plain:
    """Does for clients without a protocol what commands do for others.

    Args:
        subscriptions: begins subscriptions.
        publishing: publishes for clients.
        clock: seconds, never going back.
    """

    def __init__(self, subscriptions: Subscriptions, publishing: Publishing, clock: Callable[[], float]) -> None:
        self.subscriptions = subscriptions
        self.publishing = publishing
        self.clock = clock

    async def connect(self, client: Client, name: str) -> None:
        """Put a client into a channel.

        Raises:
            Refused: if it may not be there.
        """
        client.connected(self.clock())
        introduce(self.subscriptions.hub, client)
        client.busy = True
        try:
            async with self.subscriptions.joining(client, name) as subscription:
                await permit(client, subscription, None)
                await self.subscriptions.enter(client, subscription, SubscribeRequest())
        except Unsubscribed as ended:
            tell_end(client, name, ended.code)
        except Gone:
            pass
        finally:
            client.busy = False
            self.subscriptions.postponed.pop(client, None)
        if client.leaving:
            client.peer_left()

    async def receive(self, client: Client, name: str, codec: PlainCodec, message: str | bytes) -> None:
        """Publish a client's message, or tell the client why not."""
        client.busy = True
        try:
            await wait_read(client)
            await self.publishing.publish_as(client, name, codec.parse(message))
        except Refused as refused:
            client.answer(PreparedMessage(f"[trunkline] {refused.message}"))
        except Disconnected as error:
            client.disconnect(error.code, error.reason)
        except Exception as error:
            logger.error("a message of client %s wasn't published", client.id, exc_info=error)
            client.answer(PreparedMessage(f"[trunkline] not sent: {codes.ERRORS[codes.INTERNAL][0]}"))
        finally:
            client.busy = False
