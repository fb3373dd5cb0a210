"""Where a session ran, so that its numbers can be read later."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from benchmarks.measure import ROOT, Cores

PACKAGES = ("trunkline", "picows", "websockets", "aiohttp", "uvloop")


class Environment(TypedDict):
    date: str
    python: str
    versions: dict[str, str]
    commit: str
    """Of trunkline; ends in `-dirty` if the tree has other changes."""
    kernel: str
    cpu: str
    cores: Cores
    load_average: float
    """Over the minute before the session: what else the machine was doing."""


def describe(cores: Cores) -> Environment:
    return Environment(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions={package: _version(package) for package in PACKAGES},
        commit=_commit(),
        kernel=f"{platform.system()} {platform.release()}",
        cpu=f"{os.cpu_count()} x {_cpu_model()}",
        cores=cores,
        load_average=os.getloadavg()[0],
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
