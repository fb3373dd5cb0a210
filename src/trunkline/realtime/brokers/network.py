"""The common part of the brokers that reach their server over a network."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from typing import Final, Protocol

from trunkline.realtime.brokers.base import Broker, BrokerError, History
from trunkline.realtime.brokers.envelope import JOIN, LEAVE, PUBLICATION, Envelope, seal, seal_publication
from trunkline.realtime.brokers.following import Event, Following, Reader
from trunkline.realtime.brokers.local import found, milliseconds, retained
from trunkline.realtime.publication import ClientInfo, Publication, StreamPosition

__all__ = ["NetworkBroker", "Store", "passing"]

CLOSING: Final = 5.0  # seconds for calls that are under way when the broker is closed


class Store(Reader, Protocol):
    """The history of channels at the server."""

    def now(self) -> int:
        """Milliseconds since 1970, as the server counts them."""

    async def append(
        self, channel: str, publication: Publication, size: int, ttl: int, id: str | None
    ) -> StreamPosition:
        """Append a publication, and let the server deliver it. `ttl`: milliseconds.

        Raises:
            Uncertain, BrokerError: as `Broker.publish`.
        """


class NetworkBroker(Broker):
    """Publishes and reads at a server; a subclass connects, and hands over what the server delivers."""

    _store: Store
    _following: Following

    def __init__(self) -> None:
        self._open = False
        self._under_way = 0  # calls of publish
        self._settled = asyncio.Event()  # when a closing broker has none of them any more

    @abstractmethod
    async def _tell(self, channel: str, envelope: bytes) -> None:
        """Tell every node something that isn't kept.

        Raises:
            Uncertain, BrokerError: as `publish`.
        """

    def _running(self) -> None:
        if not self._open:
            raise BrokerError(f"this {type(self).__name__} isn't started, or is closed already")

    async def _settle(self) -> None:
        """Accept nothing more, and let what was accepted come to an end."""
        self._open = False
        if self._under_way:
            self._settled = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), CLOSING)

    async def publish(
        self,
        channel: str,
        publication: Publication,
        *,
        size: int = 0,
        ttl: float = 0,
        id: str | None = None,
    ) -> StreamPosition:
        self._running()
        keep = retained(size, ttl, id)
        self._under_way += 1
        try:
            if keep:
                position = await self._store.append(channel, publication, size, milliseconds(ttl), id)
                self._following.learn(channel, position)
                return position
            publication.offset, publication.time = 0, self._store.now()
            await self._tell(channel, seal_publication(publication))
            return StreamPosition()
        finally:
            self._under_way -= 1
            if not self._under_way and not self._open:
                self._settled.set()

    async def publish_join(self, channel: str, info: ClientInfo) -> None:
        self._running()
        await self._tell(channel, seal(Envelope(JOIN, info=info)))

    async def publish_leave(self, channel: str, info: ClientInfo) -> None:
        self._running()
        await self._tell(channel, seal(Envelope(LEAVE, info=info)))

    async def history(
        self,
        channel: str,
        *,
        since: StreamPosition | None = None,
        limit: int | None = None,
        reverse: bool = False,
    ) -> History:
        self._running()
        known = await self._following.history(channel, since, limit, reverse)
        if known is not None:
            return known
        read = await self._store.read(channel, None if since is None else since.offset, limit, reverse)
        return found(read.publications, read.position, read.base, since, reverse)


def passing(envelope: Envelope, now: int) -> Event | None:
    """The event in an envelope that isn't kept. `now`: milliseconds since 1970."""
    if envelope.kind == PUBLICATION:
        return envelope.publication(0, now)
    return None if envelope.info is None else (envelope.kind, envelope.info)
