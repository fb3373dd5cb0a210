"""The conformance suite for drivers: what a program may rely on, whatever carries its connections.

`SCENARIOS` lists what a driver must do, each a function whose docstring names the rule. Run them under pytest::

    import pytest
    from trunkline.testing import conformance
    from trunkline.testing.drivers.asyncio import AsyncioDriver

    DRIVER = AsyncioDriver()


    @pytest.mark.parametrize("scenario", conformance.scenarios_for(DRIVER), ids=str)
    def test_driver(scenario):
        scenario.run(DRIVER)

To see the values in an assertion that failed, call `pytest.register_assert_rewrite("trunkline.testing")` first.
"""

from __future__ import annotations

from trunkline.testing.conformance import (  # each adds its scenarios  # noqa: F401
    closing,
    control,
    endings,
    faults,
    fragments,
    handshake,
    http,
    limits,
    messages,
    proxies,
    sending,
    server,
    transports,
)
from trunkline.testing.conformance.scenario import SCENARIOS, Scenario
from trunkline.testing.driver import Driver

__all__ = ["SCENARIOS", "Scenario", "scenarios_for"]


def scenarios_for(driver: Driver) -> list[Scenario]:
    """The scenarios that make sense for a driver, by its features."""
    return [scenario for scenario in SCENARIOS if scenario.suits(driver)]
