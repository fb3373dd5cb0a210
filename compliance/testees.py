"""Who is tested: trunkline on each engine and in each build, and other libraries beside it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
CASES_SECONDS = 3600
"""How long all cases may take before a run is given up."""


class ComplianceError(Exception):
    """A test could not be carried out; the message says why."""


@dataclass(frozen=True)
class Testee:
    """An implementation: an echo server and an echo client, see `compliance/peers`."""

    __test__ = False  # for pytest, to whom the name looks like tests

    name: str
    module: str
    """Of `compliance.peers`."""
    distribution: str
    """That it comes from."""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def is_subject(self) -> bool:
        """True for the library whose compliance this is about."""
        return self.distribution == "trunkline"

    @contextmanager
    def serving(self, log: Path) -> Iterator[int]:
        """The echo server, as a process of its own; yields its port.

        Raises:
            ComplianceError: it does not start, or does not live to the end.
        """
        with log.open("w") as errors:
            process = subprocess.Popen(
                [*self._command, "server"],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            assert process.stdout is not None
            try:
                words = process.stdout.readline().split()
                if not words:
                    raise ComplianceError(f"the server of {self.name} did not start:\n{log.read_text()}")
                yield int(words[1])
                if process.poll() is not None:
                    raise ComplianceError(f"the server of {self.name} ended during the test; see {log}")
            finally:
                process.kill()
                process.communicate()

    def run_client(self, url: str, log: Path) -> None:
        """Let the echo client go through all cases of the fuzzing server at `url`.

        Raises:
            ComplianceError: it fails, or it does not finish.
        """
        command = [*self._command, "client", "--url", url]
        try:
            with log.open("w") as errors:
                subprocess.run(
                    command, cwd=ROOT, env=self._environment, stderr=errors, check=True, timeout=CASES_SECONDS
                )
        except subprocess.SubprocessError as error:
            raise ComplianceError(f"the client of {self.name} failed: {error}; see {log}") from error

    @property
    def _command(self) -> list[str]:
        return [sys.executable, "-m", f"compliance.peers.{self.module}"]

    @property
    def _environment(self) -> dict[str, str]:
        return os.environ | {"no_proxy": "*"} | self.environment


def trunkline(engine: str, build: str) -> Testee:
    environment = {"COMPLIANCE_ENGINE": engine, "COMPLIANCE_BUILD": build}
    if build == "interpreted":
        environment["PYTHONPATH"] = str(ROOT / "src")  # which never holds extension modules
    return Testee(f"trunkline/{engine}/{build}", "trunkline", "trunkline", environment)


TESTEES = (
    trunkline("reactor", "compiled"),
    trunkline("transports", "compiled"),
    trunkline("transports", "interpreted"),  # the reactor exists only as an extension module
    Testee("trunkline/sync", "trunkline_sync", "trunkline"),
    Testee("trunkline/trio", "trunkline_trio", "trunkline"),
    Testee("websockets", "websockets", "websockets", {"WEBSOCKETS_MAX_FRAGMENTS": "1000000"}),  # group 9 has 65,536
    Testee("picows.websockets", "picows_websockets", "picows"),
    Testee("aiohttp", "aiohttp", "aiohttp"),
)

#: Those that the page has no column for: they are tested when they are named.
OTHERS = (Testee("trunkline/uvicorn", "trunkline_uvicorn", "trunkline"),)


def choose(patterns: list[str] | None) -> list[Testee]:
    """The testees whose names match any of the patterns, or those of the page.

    Raises:
        ComplianceError: a pattern matches none.
    """
    if patterns is None:
        return list(TESTEES)
    everyone = (*TESTEES, *OTHERS)
    for pattern in patterns:
        if not any(fnmatch(testee.name, pattern) for testee in everyone):
            known = ", ".join(testee.name for testee in everyone)
            raise ComplianceError(f"no implementation is named {pattern!r}; there are {known}")
    return [t for t in everyone if any(fnmatch(t.name, pattern) for pattern in patterns)]
