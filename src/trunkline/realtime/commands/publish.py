"""The command publish."""

from __future__ import annotations

from collections.abc import Callable

from trunkline.realtime import codes
from trunkline.realtime.codes import Refused
from trunkline.realtime.commands.permissions import look_up, may
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.limits import Buckets
from trunkline.realtime.program.channels import Channels
from trunkline.realtime.program.hooks import call
from trunkline.realtime.publication import Publication
from trunkline.realtime.publisher import Publisher
from trunkline.realtime.wire.messages import PublishRequest, PublishResult, as_bytes
from trunkline.realtime.wire.payloads import check_json, check_returned

__all__ = ["Publishing"]


class Publishing:
    """Publishes for clients.

    Args:
        channels: the declared ones.
        publisher: publishes for all.
        clock: seconds, never going back.
    """

    def __init__(self, channels: Channels, publisher: Publisher, clock: Callable[[], float]) -> None:
        self.channels = channels
        self.publisher = publisher
        self.clock = clock
        self._published = Buckets()

    async def publish(self, client: Client, id: int, request: PublishRequest) -> None:
        """Publish the payload of a command."""
        if request.type:
            raise Refused(codes.NOT_AVAILABLE, "only publications in streams are supported")
        await self.publish_as(client, request.channel, as_bytes(request.data) or b"")
        client.reply(id, publish=PublishResult())

    async def publish_as(self, client: Client, name: str, data: bytes) -> None:
        """Publish a payload that a client sent.

        Raises:
            Refused: if it may not.
        """
        channel, parameters, subscription = look_up(self.channels, client, name)
        options = channel.options
        if not may(options.publish, client, subscription):
            raise Refused(codes.PERMISSION_DENIED)
        if options.rate is not None and not self._published.take(name, options.rate, self.clock()):
            raise Refused(codes.TOO_MANY_REQUESTS)
        if not options.binary:
            check_json(data)
        changed = await call(channel.publish_hook, client, data, parameters)
        if changed is not None and not options.binary:
            check_returned(changed, channel.pattern.text)
        info = client.shown if subscription is None else subscription.info
        publication = Publication(data if changed is None else changed, info=info)
        await self.publisher.publish(channel, name, publication, by=client)
