"""The duties of every broker and every presence, as scenarios that your own tests run.

::

    import pytest
    from trunkline.testing.brokers import broker_scenarios, check_broker


    @pytest.mark.parametrize("scenario", broker_scenarios(durable=True), ids=str)
    def test_my_broker(scenario, tmp_path):
        check_broker(scenario, lambda clock: MyBroker(tmp_path / "store", clock=clock))

The contracts are in the docstrings of `trunkline.realtime.brokers.Broker` and `trunkline.realtime.presence.Presence`;
each scenario's docstring says which part of them it holds a broker to.
"""

from __future__ import annotations

from trunkline.testing.brokers import delivery, history, life, nodes, presence  # each adds its scenarios  # noqa: F401
from trunkline.testing.brokers.stage import (
    BROKER_SCENARIOS,
    PRESENCE_SCENARIOS,
    Clock,
    Events,
    Scenario,
    check_broker,
    check_presence,
)

__all__ = [
    "Clock",
    "Events",
    "Scenario",
    "broker_scenarios",
    "check_broker",
    "check_presence",
    "presence_scenarios",
]


def broker_scenarios(*, durable: bool = False, shared: bool = False) -> list[Scenario]:
    """The scenarios for a broker.

    Args:
        durable: whether what it kept is there when it is closed and opened again.
        shared: whether several nodes share what is published, each with a broker of its own.
    """
    return [each for each in BROKER_SCENARIOS if _suits(each, durable, shared)]


def presence_scenarios(*, shared: bool = False) -> list[Scenario]:
    """The scenarios for a presence; `shared` as for `broker_scenarios`."""
    return [each for each in PRESENCE_SCENARIOS if _suits(each, False, shared)]


def _suits(scenario: Scenario, durable: bool, shared: bool) -> bool:
    return {"": True, "durable": durable, "shared": shared}[scenario.needs]
