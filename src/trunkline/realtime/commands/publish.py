"""The command publish."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from trunkline.realtime import codes
from trunkline.realtime.codes import Refused
from trunkline.realtime.commands.permissions import look_up, may
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.limits import Buckets
from trunkline.realtime.program.channels import Channel, Channels
from trunkline.realtime.program.steps import Paused
from trunkline.realtime.publication import Publication
from trunkline.realtime.publisher import Publisher
from trunkline.realtime.wire.messages import PublishRequest, as_bytes
from trunkline.realtime.wire.payloads import check_json, check_returned, encode

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

    def publish(self, client: Client, id: int, request: PublishRequest) -> Awaitable[None] | None:
        """Publish the payload of a command."""
        if request.type:
            raise Refused(codes.NOT_AVAILABLE, "only publications in streams are supported")
        rest = self.start(client, request.channel, as_bytes(request.data) or b"", checked=not client.codec.binary)
        if rest is not None:
            return self._answer_later(client, id, rest)
        client.answer(client.codec.published(id))
        return None

    async def _answer_later(self, client: Client, id: int, publishing: Awaitable[None]) -> None:
        await publishing
        client.answer(client.codec.published(id))

    async def publish_as(self, client: Client, name: str, data: bytes) -> None:
        """Publish a payload that a client sent.

        Raises:
            Refused: if it may not.
        """
        rest = self.start(client, name, data)
        if rest is not None:
            await rest

    def start(self, client: Client, name: str, data: bytes, *, checked: bool = False) -> Awaitable[None] | None:
        """`publish_as`, but return what is to be awaited.

        Args:
            client: the client.
            name: of the channel.
            data: the payload.
            checked: whether it stood in JSON, so that it is JSON unless it is empty.

        Returns:
            None, or what is to be awaited: a function of the program, the broker, or slow clients.

        Raises:
            Refused: if it may not.
        """
        channel, parameters, subscription = look_up(self.channels, client, name)
        options = channel.options
        if not may(options.publish, client, subscription):
            raise Refused(codes.PERMISSION_DENIED)
        if options.rate is not None and not self._published.take(name, options.rate, self.clock()):
            raise Refused(codes.TOO_MANY_REQUESTS)
        if not options.binary and not (checked and data):
            check_json(data)
        publication = Publication(data, info=client.shown if subscription is None else subscription.info)
        if channel.publish_hook is None:
            return self._hand_over(client, channel, name, publication)
        changed = client.hub.pace.start(channel.publish_hook, client, data, parameters)
        if isinstance(changed, Paused):
            return self._hand_over_later(client, channel, name, publication, changed)
        _change(channel, publication, changed)
        return self._hand_over(client, channel, name, publication)

    def _hand_over(self, client: Client, channel: Channel, name: str, publication: Publication) -> Paused | None:
        rest = self.publisher.begin(channel, name, publication, by=client)
        return rest if isinstance(rest, Paused) else None

    async def _hand_over_later(
        self, client: Client, channel: Channel, name: str, publication: Publication, hook: Paused
    ) -> None:
        _change(channel, publication, await hook)
        await self.publisher.publish(channel, name, publication, by=client)


def _change(channel: Channel, publication: Publication, returned: object) -> None:
    """Publish what a hook returned instead, unless that is None."""
    if returned is not None:
        publication.data = encode(returned)
        if not channel.options.binary:
            check_returned(publication.data, channel.pattern.text)
