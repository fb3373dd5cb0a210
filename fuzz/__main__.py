"""Run the targets on random input until the time is over; each finding is shown with the seed that repeats it."""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from collections.abc import Callable

from fuzz import heads, races, rooms, sessions

TARGETS: dict[str, Callable[[random.Random], str | None]] = {
    "sessions": sessions.fuzz,
    "deflate": sessions.fuzz_deflate,
    "heads": heads.fuzz,
    "rooms": rooms.fuzz,
    "races": races.fuzz,
}


def run(target: str, seed: int) -> str | None:
    """Run one target once; a difference or an exception is a finding."""
    try:
        return TARGETS[target](random.Random(seed))
    except Exception:
        return traceback.format_exc()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, help="run once with this seed, to repeat a finding")
    options = parser.parse_args(arguments)
    targets = options.target or sorted(TARGETS)
    seeds = random.SystemRandom()
    end = time.monotonic() + options.seconds
    runs = dict.fromkeys(targets, 0)
    while options.seed is not None or time.monotonic() < end:
        for target in targets:
            seed = seeds.getrandbits(48) if options.seed is None else options.seed
            runs[target] += 1
            finding = run(target, seed)
            if finding is not None:
                print(f"python -m fuzz --target {target} --seed {seed}\n{finding}")
                return 1
        if options.seed is not None:
            break
    print("nothing found: " + ", ".join(f"{count} {target}" for target, count in runs.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
