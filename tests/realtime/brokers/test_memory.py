"""The broker in memory does what every broker must, and stays small."""

import pytest

from trunkline.realtime.brokers.memory import MemoryBroker
from trunkline.testing.brokers import Scenario, broker_scenarios, check_broker


@pytest.mark.parametrize("scenario", broker_scenarios(), ids=str)
def test_conforms(scenario: Scenario) -> None:
    check_broker(scenario, lambda clock: MemoryBroker(clock=clock))
