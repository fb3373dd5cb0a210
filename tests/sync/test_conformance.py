"""The conformance suite over `trunkline.sync`, with threads and with fibers."""

import pytest

from trunkline.testing import conformance
from trunkline.testing.drivers.sync import FiberDriver, SyncDriver

DRIVER = SyncDriver()
FIBERS = FiberDriver()


@pytest.mark.parametrize("scenario", conformance.scenarios_for(DRIVER), ids=str)
def test_scenario(scenario: conformance.Scenario) -> None:
    scenario.run(DRIVER)


@pytest.mark.parametrize("scenario", conformance.scenarios_for(FIBERS), ids=str)
def test_scenario_with_fibers(scenario: conformance.Scenario) -> None:
    scenario.run(FIBERS)
