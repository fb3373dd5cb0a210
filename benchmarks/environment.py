"""Where a session ran, so that its numbers can be read later."""

import importlib.util
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.machinery import ExtensionFileLoader
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

from benchmarks.build import ROOT
from benchmarks.measure import Cores

PACKAGES = ("trunkline", "picows", "aiofastnet", "websockets", "aiohttp", "uvloop", "isal")


class Environment(TypedDict):
    """Taken once, when the session begins."""

    command: str
    date: str
    python: str
    versions: dict[str, str]
    commit: str
    """Of trunkline; ends in `-dirty` if the tree has other changes."""
    core: str
    """`compiled` or `interpreted`: how trunkline was built."""
    kernel: str
    cpu: str
    cores: Cores
    load_average: float
    """Over the minute before the session: what else the machine was doing."""


def describe(command: str, cores: Cores) -> Environment:
    return Environment(
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions={package: _version(package) for package in PACKAGES},
        commit=_commit(),
        core=_core(),
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


def _core() -> str:
    """How the core of trunkline was built, without running any of it."""
    try:
        spec = importlib.util.find_spec("trunkline.core.reader")
    except ModuleNotFoundError:
        return "missing"
    return "compiled" if spec and isinstance(spec.loader, ExtensionFileLoader) else "interpreted"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
