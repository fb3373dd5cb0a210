"""The scenarios, and the list of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from trunkline.core.session import Side
from trunkline.testing.conformance.world import World
from trunkline.testing.driver import Driver

__all__ = ["SCENARIOS", "Scenario", "scenario"]

Check = Callable[[World], None]


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One thing that a driver must do, in one role.

    Attributes:
        name: its function's name, and the role.
        check: the function; its docstring names the rule.
        role: which end the driver plays; None if both, or if the scenario says so itself.
        needs: features, of `Driver.FEATURES`, without which it makes no sense.
    """

    name: str
    check: Check
    role: Side | None
    needs: frozenset[str]

    def __str__(self) -> str:
        return self.name

    def suits(self, driver: Driver) -> bool:
        """Whether the driver has what it needs."""
        return self.needs <= driver.features

    def run(self, driver: Driver) -> None:
        """Run it, in a fresh world.

        Raises:
            AssertionError: if the driver doesn't do as the rule says, or leaves something behind.
            Exception: whatever the driver raises where it shouldn't.
        """
        with World(driver, self.role) as world:
            self.check(world)


#: All scenarios, in the order of their modules.
SCENARIOS: list[Scenario] = []

_NEEDS = {Side.SERVER: frozenset({"server"}), Side.CLIENT: frozenset({"client"})}


def scenario(*roles: Side, needs: tuple[str, ...] = ()) -> Callable[[Check], Check]:
    """Add a function to the list: once for each role, or once if there is none."""
    unknown = set(needs) - set(Driver.FEATURES)
    assert not unknown, f"no such feature: {unknown}"

    def add(check: Check) -> Check:
        assert check.__doc__, f"{check.__name__} doesn't say which rule it checks"
        for role in roles:
            name = f"{check.__name__}-{role.name.lower()}"
            SCENARIOS.append(Scenario(name, check, role, frozenset(needs) | _NEEDS[role]))
        if not roles:
            SCENARIOS.append(Scenario(check.__name__, check, None, frozenset(needs)))
        return check

    return add


SERVER, CLIENT = Side.SERVER, Side.CLIENT
BOTH = SERVER, CLIENT
PAIR = ("server", "client")
