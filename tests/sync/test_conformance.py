"""The conformance suite over `trunkline.sync`."""

import pytest

from trunkline.testing import conformance
from trunkline.testing.drivers.sync import SyncDriver

DRIVER = SyncDriver()


@pytest.mark.parametrize("scenario", conformance.scenarios_for(DRIVER), ids=str)
def test_scenario(scenario: conformance.Scenario) -> None:
    scenario.run(DRIVER)
