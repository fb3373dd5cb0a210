"""asyncio, with both engines, in the conformance suite. test_semantics.py has that in which event loops may differ."""

from __future__ import annotations

import pytest

from trunkline.asyncio import engine as engines
from trunkline.testing import conformance
from trunkline.testing.conformance import Scenario
from trunkline.testing.drivers.asyncio import AsyncioDriver

ENGINES = ["transports"] if engines.sockets is None else ["reactor", "transports"]
DRIVERS = [AsyncioDriver(engine) for engine in ENGINES]


@pytest.mark.parametrize("scenario", conformance.scenarios_for(DRIVERS[0]), ids=str)
@pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)
def test_scenario(scenario: Scenario, driver: AsyncioDriver) -> None:
    scenario.run(driver)
