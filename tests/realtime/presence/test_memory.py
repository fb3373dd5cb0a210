"""Presence in memory does what every presence must."""

import asyncio

import pytest

from trunkline.realtime.presence import MemoryPresence
from trunkline.realtime.publication import ClientInfo
from trunkline.testing.brokers import Clock, Scenario, check_presence, presence_scenarios


@pytest.mark.parametrize("scenario", presence_scenarios(), ids=str)
@pytest.mark.parametrize("ttl", [None, 30])
def test_conforms(scenario: Scenario, ttl: float | None) -> None:
    check_presence(scenario, lambda clock: MemoryPresence(ttl, clock=clock))


def test_keeps_nothing_of_those_who_left() -> None:
    async def main() -> None:
        clock = Clock()
        presence = MemoryPresence(10, clock=clock)
        for number in range(100):
            await presence.add("room", f"c{number}", ClientInfo(f"u{number}", f"c{number}"))
        await clock.advance(11)
        await presence.get("room")
        assert not vars(presence)["_channels"]

    asyncio.run(main())
