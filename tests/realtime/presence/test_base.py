"""A presence that has no better way to add many entries adds each by itself, also if one of them can't be."""

import asyncio

import pytest

from trunkline.realtime import ClientInfo, MemoryPresence, Presence
from trunkline.realtime.brokers import BrokerError
from trunkline.realtime.presence import PresenceEntry


class Picky(MemoryPresence):
    async def add(self, channel: str, client: str, info: ClientInfo) -> None:
        if channel == "refused":
            raise BrokerError("no room")
        await super().add(channel, client, info)


def test_many_entries() -> None:
    async def main() -> None:
        presence: Presence = Picky()
        entries = [PresenceEntry(channel, "c", ClientInfo("u", "c")) for channel in ("a", "refused", "b")]
        with pytest.raises(BrokerError, match="no room"):
            await presence.add_many(entries)
        assert [list(await presence.get(entry.channel)) for entry in entries] == [["c"], [], ["c"]]
        await presence.add_many([])

    asyncio.run(main())
