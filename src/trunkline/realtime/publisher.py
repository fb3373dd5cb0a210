"""Publishing, for the program and for clients alike."""

from __future__ import annotations

from typing import Any

from trunkline.realtime.backpressure import must_wait, wait_writable
from trunkline.realtime.brokers.base import Broker
from trunkline.realtime.hub.connected import Client
from trunkline.realtime.hub.hub import Hub
from trunkline.realtime.program.channels import Channel
from trunkline.realtime.program.steps import Paused, begin
from trunkline.realtime.publication import Publication, StreamPosition

__all__ = ["Publisher"]


class Publisher:
    """Hands publications to the broker, as the options of their channel say.

    Args:
        hub: knows which queues are full.
        broker: delivers publications to all nodes.
    """

    def __init__(self, hub: Hub, broker: Broker) -> None:
        self.hub = hub
        self.broker = broker

    async def publish_for_program(
        self, channel: Channel, name: str, publication: Publication, id: str | None = None
    ) -> StreamPosition:
        """`publish` for the program, which may compute for long before the event loop turns."""
        self.hub.pace.begin()
        try:
            return await self.publish(channel, name, publication, id)
        finally:
            self.hub.pace.done()

    async def publish(
        self, channel: Channel, name: str, publication: Publication, id: str | None = None, by: Client | None = None
    ) -> StreamPosition:
        """Publish, once there is room for it where the channel makes publishers wait.

        Args:
            channel: the declared channel.
            name: of the channel.
            publication: what to publish.
            id: as for `Broker.publish`.
            by: the client that publishes, None for the program.

        Raises:
            ValueError: if there is an id but no history.
            BrokerError: if the broker doesn't take it.
        """
        position = self.begin(channel, name, publication, id, by)
        if isinstance(position, Paused):
            position = await position
        return position  # type: ignore[no-any-return]

    def begin(
        self, channel: Channel, name: str, publication: Publication, id: str | None = None, by: Client | None = None
    ) -> Any:
        """`publish`, but return a `Paused` if there is something to wait for."""
        options = channel.options
        if options.slow == "block" and must_wait(self.hub, name, by):
            return begin(self._publish_when_writable(channel, name, publication, id, by))
        return begin(self.broker.publish(name, publication, size=options.history, ttl=options.ttl, id=id))

    async def _publish_when_writable(
        self, channel: Channel, name: str, publication: Publication, id: str | None, by: Client | None
    ) -> StreamPosition:
        options = channel.options
        await wait_writable(self.hub, name, by)
        return await self.broker.publish(name, publication, size=options.history, ttl=options.ttl, id=id)
