"""Reports as the suites write them."""

import json
from pathlib import Path


def write_report(directory: Path, **behaviours: str) -> None:
    """A report on cases, given like `c1_1_2="OK"`, or `c7_1_1="OK, UNCLEAN"` to tell the end of the connection too."""
    index = {}
    for name, behaviour in behaviours.items():
        exchange, _, close = behaviour.partition(", ")
        case = name.removeprefix("c").replace("_", ".")
        index[case] = {"behavior": exchange, "behaviorClose": close or "OK", "reportfile": f"{name}.json"}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "index.json").write_text(json.dumps({"peer": index}))
