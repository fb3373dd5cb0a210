"""trio in the conformance suite."""

from __future__ import annotations

import pytest

from trunkline.testing import conformance
from trunkline.testing.conformance import Scenario
from trunkline.testing.drivers.trio import TrioDriver

DRIVER = TrioDriver()


@pytest.mark.parametrize("scenario", conformance.scenarios_for(DRIVER), ids=str)
def test_scenario(scenario: Scenario) -> None:
    scenario.run(DRIVER)
