"""The suite itself: a driver that breaks a rule must fail its scenario."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from trunkline.testing import conformance
from trunkline.testing.driver import Driver
from trunkline.testing.drivers.asyncio import AsyncioDriver


def test_names_are_unique_and_docstrings_name_a_rule() -> None:
    names = [scenario.name for scenario in conformance.SCENARIOS]
    assert len(set(names)) == len(names) > 100
    assert all(scenario.check.__doc__ for scenario in conformance.SCENARIOS)


def test_scenarios_are_chosen_by_features() -> None:
    driver = AsyncioDriver()
    driver.features = driver.features - {"cancellation", "server"}
    chosen = {scenario.name for scenario in conformance.scenarios_for(driver)}
    assert "receives_text_and_binary-client" in chosen
    assert "receives_text_and_binary-server" not in chosen
    assert "cancelled_receiving_loses_nothing-client" not in chosen
    assert "large_messages_in_both_directions_at_once" not in chosen


class NoKeepalive(AsyncioDriver):
    """Opens connections that send no pings."""

    async def open_client(self, uri: str, **options: Any) -> Any:
        return await super().open_client(uri, **(options | {"ping_interval": None}))


class LeavesOpen(AsyncioDriver):
    """Does not close what a scenario has opened."""

    def close(self, connection: Any, *args: Any, **kwargs: Any) -> Any:
        self.kept = connection


@pytest.mark.parametrize(
    ("driver", "name"),
    [(NoKeepalive, "keepalive_pings_and_measures-client"), (LeavesOpen, "receives_text_and_binary-client")],
)
def test_a_driver_that_breaks_a_rule_fails(
    driver: Callable[[], Driver], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("peer", "conformance.world"):
        monkeypatch.setattr(f"trunkline.testing.{module}.PATIENCE", 0.5)
    [scenario] = [scenario for scenario in conformance.SCENARIOS if scenario.name == name]
    with pytest.raises((AssertionError, TimeoutError)):
        scenario.run(driver())
