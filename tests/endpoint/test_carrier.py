"""The seam between `Life` and what carries it: the conformance suite of asyncio with no socket and no HTTP in sight."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.memory_carrier import MemoryCarrier
from tests.support.memory_stream import PeerEnd
from trunkline.asyncio.connection import Connection
from trunkline.core.session import Side
from trunkline.options import Options
from trunkline.testing import conformance
from trunkline.testing.conformance import Scenario, world
from trunkline.testing.drivers.asyncio import AsyncioDriver
from trunkline.testing.peer import Peer

DRIVER = AsyncioDriver("transports", name="memory")

# A carrier in memory has no socket, no HTTP and no server.
MODULES_ABOUT_SERVERS = ("handshake", "http", "proxies", "server", "transports")
SCENARIOS_ABOUT_SERVERS = (
    "clients_vanish_at_every_stage-server",
    "slow_handshake_times_out-server",
    "large_messages_in_both_directions_at_once",
    "compressed_messages",
    "compresses_every_message_if_told-server",
    "compresses_every_message_if_told-client",
    "what_was_sent_has_left_with_tls-server",
    "neighbours_delay_no_answer-server",
)
SCENARIOS = [
    scenario
    for scenario in conformance.scenarios_for(DRIVER)
    if scenario.check.__module__.rpartition(".")[2] not in MODULES_ABOUT_SERVERS
    and str(scenario) not in SCENARIOS_ABOUT_SERVERS
]


class Linked(world.Connection):
    """The driver's end of a link."""

    def finish(self) -> None:
        pytest.fail("the scenario needs a handler, which a server calls")


class World(world.World):
    """Links are in memory. A scenario that needs more belongs to SCENARIOS_ABOUT_SERVERS."""

    carrier = MemoryCarrier

    @contextlib.contextmanager
    def link(self, *headers: str, **options: Any) -> Iterator[tuple[world.Connection, Peer]]:
        if headers:
            pytest.fail("the scenario looks at headers of HTTP")
        end = PeerEnd()
        raw = self.driver.call(self._connect, end, options)
        self.watch(raw)
        connection = Linked(self, raw)
        del raw
        with Peer(end, Side.CLIENT if self.role is Side.SERVER else Side.SERVER) as peer:
            yield connection, peer
            peer.close()
            connection.close()

    def _connect(self, end: PeerEnd, options: dict[str, Any]) -> Connection:
        assert self.role is not None
        connection = Connection(self.role, Options(**options), self.logger)
        connection.carrier = self.carrier(connection, end)
        connection.start(None, (), b"")
        return connection

    def linked(self, *headers: str, **options: Any) -> Any:
        pytest.fail("the scenario looks at the head of a request or response")

    def serve(self, **options: Any) -> Any:
        pytest.fail("the scenario needs a server, which speaks HTTP on sockets")

    def listen(self) -> Any:
        pytest.fail("the scenario needs a listening socket, and speaks HTTP")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_scenario(scenario: Scenario) -> None:
    with World(DRIVER, scenario.role) as where:
        scenario.check(where)


class Forgetful(MemoryCarrier):
    """Forgets every second write."""

    forgets = False

    def send(self, chunks: list[bytes], last: bool) -> Exception | None:
        self.forgets = not self.forgets
        return None if self.forgets else super().send(chunks, last)


class Deaf(MemoryCarrier):
    """Never tells that the stream has ended."""

    def advance(self) -> None:
        self.peer.to_carrier.ended = False
        super().advance()


class ForgetfulWorld(World):
    carrier = Forgetful


class DeafWorld(World):
    carrier = Deaf


@pytest.mark.parametrize(
    ("name", "broken"),
    [("answers_a_close_frame-server", ForgetfulWorld), ("stream_ends_without_a_close_frame-client", DeafWorld)],
)
def test_a_carrier_that_breaks_its_promises_fails(
    name: str, broken: type[World], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.testing.peer.PATIENCE", 0.2)
    monkeypatch.setattr("trunkline.testing.conformance.world.PATIENCE", 0.2)
    (scenario,) = [each for each in conformance.SCENARIOS if each.name == name]
    with pytest.raises((AssertionError, TimeoutError, OSError, EOFError)), broken(DRIVER, scenario.role) as where:
        scenario.check(where)
