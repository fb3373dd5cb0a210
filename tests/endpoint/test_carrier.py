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


class Linked(world.Connection):
    """The driver's end of a link."""

    def finish(self) -> None:
        pytest.skip("the scenario needs a handler, which a server calls")


class World(world.World):
    """Links are in memory. Scenarios that need a server, a listening socket or a head of HTTP are skipped."""

    carrier = MemoryCarrier

    @contextlib.contextmanager
    def link(self, *headers: str, **options: Any) -> Iterator[tuple[world.Connection, Peer]]:
        if headers:
            pytest.skip("the scenario looks at headers of HTTP")
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
        pytest.skip("the scenario looks at the head of a request or response")

    def serve(self, **options: Any) -> Any:
        pytest.skip("the scenario needs a server, which speaks HTTP on sockets")

    def listen(self) -> Any:
        pytest.skip("the scenario needs a listening socket, and speaks HTTP")


@pytest.mark.parametrize("scenario", conformance.scenarios_for(DRIVER), ids=str)
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
