"""One measurement: a server, a load, and what the load cost the server (or a client, and what it cost the client).

The process under test has one core to itself and the other process has another. The load generator leaves nothing in
flight outside a run (see load/wire.h). The CPU clock of the process is read before and after the run, while the process
sleeps. So it holds the cost of exactly the messages that the generator counts.
"""

import ctypes
import json
import os
import resource
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self, TypedDict

from benchmarks.build import BUILD, CERTIFICATE, FLOOR, ROOT
from benchmarks.peers import Peer
from benchmarks.workloads import Workload

PATIENCE = 120
"""Seconds to wait for a line from a process, beyond the seconds that it was told to run."""
NOTHING: Mapping[str, str] = MappingProxyType({})
SETTLED = 0.005
"""Seconds without CPU time after which a process is asleep."""


class MeasurementError(Exception):
    """A process under test or a load generator failed, or took too long."""


class Sample(TypedDict):
    """The cost of one run."""

    messages: int
    seconds: float
    cpu_ns: int
    rss_bytes: int
    p50_us: float | None
    """Latency, where the generator measures it."""
    p99_us: float | None


class Cores(TypedDict):
    """The CPU of the process under test, and the CPU of the other process."""

    subject: int
    load: int


def choose_cores() -> Cores:
    """The first and the last of the allowed CPUs: seldom two threads of one core."""
    allowed = sorted(os.sched_getaffinity(0))
    return Cores(subject=allowed[0], load=allowed[-1])


def allow_many_files() -> None:
    """Raise the soft limit on open files to the hard one; 10,000 connections need more than the usual 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Process:
    """A child process on one core that speaks in lines."""

    def __init__(self, command: list[str], core: int, environment: Mapping[str, str] = NOTHING) -> None:
        self.name = " ".join(Path(word).name for word in command)
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (a pipe without a reader would block the process)
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        os.sched_setaffinity(self._child.pid, {core})  # it has one thread still; later ones inherit this
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._child.kill()
        self._child.communicate()
        self._complaints.close()

    def expect(self, word: str, patience: float = PATIENCE) -> str:
        """The rest of the next line, which has to begin with `word`.

        Raises:
            MeasurementError: the process said something else, ended, or said nothing for `patience` seconds.
        """
        line = self._read_line(time.monotonic() + patience)
        if not line.startswith(word):
            raise MeasurementError(f"{self.name}: expected {word!r}, got {line!r}")
        return line.removeprefix(word).strip()

    def run(self, amount: float) -> dict[str, float]:
        """Let a load generator run; return what it reports."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"run {amount:g}\n".encode())
        self._child.stdin.flush()
        report: dict[str, float] = json.loads(self.expect("done", PATIENCE + amount))
        return report

    def cpu_ns(self) -> int:
        """CPU time of all threads that the process has or had, in user and kernel mode."""
        return time.clock_gettime_ns(_cpu_clock(self._child.pid))

    def rss_bytes(self) -> int:
        """Resident memory, counted page by page (the counters in /proc/PID/status lag behind)."""
        rollup = Path(f"/proc/{self._child.pid}/smaps_rollup").read_text()
        kibibytes = next(line.split()[1] for line in rollup.splitlines() if line.startswith("Rss:"))
        return int(kibibytes) * 1024

    def settle(self) -> None:
        """Wait until the process sleeps, so that nothing it still had to do is missed."""
        deadline = time.monotonic() + PATIENCE
        before = self.cpu_ns()
        while time.monotonic() < deadline:
            time.sleep(SETTLED)
            after = self.cpu_ns()
            if after == before:
                return
            before = after
        raise MeasurementError(f"{self.name}: still busy {PATIENCE} seconds after the load ended")

    def _read_line(self, deadline: float) -> str:
        assert self._child.stdout is not None
        while b"\n" not in self._unread:
            if not select.select([self._child.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                raise MeasurementError(f"{self.name}: no answer in time")
            data = os.read(self._child.stdout.fileno(), 4096)
            if not data:
                raise MeasurementError(f"{self.name}: {self._last_words()}")
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return line.decode()

    def _last_words(self) -> str:
        status = self._child.wait()
        if status == -signal.SIGALRM:
            return "ended by its watchdog: the other side stopped answering"
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with status {status}"


@dataclass(frozen=True)
class Trial:
    """A peer at a workload, its processes warmed up. Made by `start`."""

    workload: Workload
    subject: Process
    load: Process

    def run(self, seconds: float) -> Sample:
        """Run once, and say what it cost the process under test.

        Raises:
            MeasurementError: a process failed or took too long.
        """
        subject, amount = self.subject, self.workload.amount
        subject.settle()
        cpu, rss = subject.cpu_ns(), subject.rss_bytes()
        report = self.load.run(seconds if amount is None else amount)
        subject.settle()
        return Sample(
            messages=int(report["messages"]),
            seconds=report["seconds"],
            cpu_ns=subject.cpu_ns() - cpu,
            rss_bytes=subject.rss_bytes() - rss,
            p50_us=report.get("p50_us"),
            p99_us=report.get("p99_us"),
        )


@contextmanager
def start(workload: Workload, peer: Peer, cores: Cores) -> Iterator[Trial]:
    """Start the processes, and warm up.

    Raises:
        MeasurementError: a process failed or took too long.
    """
    with _processes(workload, peer, cores) as (subject, load):
        load.run(workload.warm_up)
        yield Trial(workload, subject, load)


@contextmanager
def _processes(workload: Workload, peer: Peer, cores: Cores) -> Iterator[tuple[Process, Process]]:
    """The process under test, and the one that runs the load; a client is both."""
    if workload.generator == "client":
        with Process([str(FLOOR)], cores["load"]) as server:
            command = peer.client_command(int(server.expect("listening")), int(workload.arguments[0]))
            with Process(command, cores["subject"], peer.environment) as client:
                client.expect("ready")
                yield client, client
        return
    tls = str(CERTIFICATE) if workload.tls else None
    command = peer.server_command(workload.mode, tls=tls, deflate=workload.deflate)
    with Process(command, cores["subject"], peer.environment) as server:
        port = server.expect("listening")
        command = [str(BUILD / workload.generator), port, *workload.arguments, *workload.options(peer)]
        with Process(command, cores["load"]) as generator:
            generator.expect("ready")
            yield server, generator


def _cpu_clock(pid: int) -> int:
    """The id of the process's CPU clock (POSIX clock_getcpuclockid), in nanoseconds and for all of its threads."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise MeasurementError(f"process {pid} has no CPU clock: {os.strerror(error)}")
    return clock.value
