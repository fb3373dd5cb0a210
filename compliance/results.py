"""Results of complete runs: a JSON file for each implementation and role, kept beside the code.

So a run of one implementation changes its part of the page, and nothing else.
"""

import datetime
import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from compliance.testees import TESTEES, Testee
from compliance.verdicts import BEHAVIOURS, Verdict, in_order

RESULTS = Path(__file__).parent / "results"
ROLES = ("server", "client")


@dataclass(frozen=True)
class Result:
    """One implementation in one role, judged in all cases."""

    implementation: str
    role: str
    suite: str
    """Like "kosoku 0.1.0"."""
    version: str
    """Like "websockets 17.4"."""
    python: str
    """Like "CPython 3.11.7"."""
    date: str
    """The day, as in ISO 8601."""
    cases: dict[str, list[str]]
    """The cases of each behaviour."""

    @classmethod
    def of_today(cls, testee: Testee, role: str, suite: str, verdicts: list[Verdict]) -> Self:
        return cls(
            testee.name,
            role,
            suite,
            f"{testee.distribution} {version(testee.distribution)}",
            f"{platform.python_implementation()} {platform.python_version()}",
            datetime.date.today().isoformat(),
            {behaviour: [v.case for v in verdicts if v.behaviour == behaviour] for behaviour in BEHAVIOURS},
        )

    @property
    def verdicts(self) -> list[Verdict]:
        """In the order of the cases."""
        return in_order(Verdict(case, behaviour) for behaviour, cases in self.cases.items() for case in cases)

    def save(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        _path(directory, self.implementation, self.role).write_text(json.dumps(asdict(self), indent=1) + "\n")


def load_all(directory: Path) -> list[Result]:
    """The results in a directory, in the order of the implementations."""
    paths = [_path(directory, testee.name, role) for testee in TESTEES for role in ROLES]
    return [Result(**json.loads(path.read_text())) for path in paths if path.exists()]


def _path(directory: Path, implementation: str, role: str) -> Path:
    return directory / f"{implementation.replace('/', '-')}-{role}.json"
