"""The findings of a suite: one verdict per case, read from its report."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from compliance.testees import ComplianceError

NOT_RUN = "NOT RUN"
"""The suite itself had an error."""
BEHAVIOURS = ("OK", "INFORMATIONAL", "NON-STRICT", "UNIMPLEMENTED", "FAILED", NOT_RUN)
"""From best to worst."""
GROUPS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Closing handshake",
    9: "Limits, large messages",
    10: "Automatic fragmentation",
    12: "Compression, payloads",
    13: "Compression, parameters",
}
INDEX = "index.json"
ERROR = "ERROR"
"""What kosoku writes, under another name of the peer, when one of its cases raises."""


@dataclass(frozen=True)
class Verdict:
    """The behaviour in one case."""

    case: str
    """Like "6.4.1"."""
    behaviour: str
    """The worse of the behaviours in the exchange of messages and in the end of the connection."""

    @property
    def group(self) -> int:
        return int(self.case.split(".")[0])


def read_verdicts(directory: Path) -> list[Verdict]:
    """The verdicts of the report in `directory`, in the order of the cases.

    Raises:
        ComplianceError: there is no report of one peer.
    """
    try:
        peers = json.loads((directory / INDEX).read_text()).values()
        (_,) = (cases for cases in peers if any(entry["behavior"] != ERROR for entry in cases.values()))
    except (FileNotFoundError, ValueError) as error:
        raise ComplianceError(f"there is no report of one peer in {directory}; see the logs there") from error
    return in_order(
        Verdict(case, _worse(entry["behavior"], entry["behaviorClose"]))
        for cases in peers
        for case, entry in cases.items()
    )


def in_order(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """By the numbers of the cases."""
    return sorted(verdicts, key=lambda verdict: [int(number) for number in verdict.case.split(".")])


def completed(verdicts: list[Verdict], rest: list[Verdict]) -> list[Verdict]:
    """The verdicts of a suite, and for the cases that it could not run those of another one."""
    judged = {verdict.case: verdict for verdict in rest}
    return [judged.get(v.case, v) if v.behaviour == NOT_RUN else v for v in verdicts]


def _worse(exchange: str, close: str) -> str:
    return NOT_RUN if exchange == ERROR else max(_known(exchange), _known(close), key=BEHAVIOURS.index)


def _known(behaviour: str) -> str:
    """The end of a connection has names of its own for failures: "UNCLEAN", "WRONG CODE", "FAILED BY CLIENT"."""
    return behaviour if behaviour in BEHAVIOURS else "FAILED"


def describe(verdicts: list[Verdict]) -> str:
    """Like "240 OK, 7 NON-STRICT"."""
    counts = Counter(verdict.behaviour for verdict in verdicts)
    return ", ".join(f"{counts[behaviour]} {behaviour}" for behaviour in BEHAVIOURS if counts[behaviour])


def faults(verdicts: list[Verdict]) -> list[Verdict]:
    """The verdicts that must not be: neither OK nor informational."""
    return [verdict for verdict in verdicts if verdict.behaviour not in ("OK", "INFORMATIONAL")]


def list_cases(verdicts: list[Verdict]) -> str:
    """Like "NON-STRICT 3.2 3.4; FAILED 6.4.1", the worst last."""
    ordered = sorted(verdicts, key=lambda verdict: BEHAVIOURS.index(verdict.behaviour))
    groups = groupby(ordered, key=lambda verdict: verdict.behaviour)
    return "; ".join(f"{behaviour} {' '.join(verdict.case for verdict in group)}" for behaviour, group in groups)
