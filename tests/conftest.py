"""Settings of all tests: which of them an interpreted build leaves out, and the meaning of a skipped test."""

import importlib.machinery
import importlib.util
import os
import signal

import hypothesis
import pytest

# A shell that runs `make test &` without job control has us ignore Ctrl-C. The servers that tests start would inherit
# that, and never end.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No example times itself against the wall: a machine is as slow as it is. The other settings of hypothesis for CI stay.
hypothesis.settings.register_profile("patient", hypothesis.settings(), deadline=None)
hypothesis.settings.load_profile("patient")

# For builds with sanitizers, which take their time: see tools/sanitize.sh.
hypothesis.settings.register_profile(
    "slow", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], max_examples=30
)


def _is_compiled() -> bool:
    spec = importlib.util.find_spec("trunkline.core.reader")
    return spec is not None and isinstance(spec.loader, importlib.machinery.ExtensionFileLoader)


COMPILED = _is_compiled()

# The reactor exists only as an extension module: without extensions its tests have nothing to import.
collect_ignore = [] if COMPILED else ["reactor", "handshake/test_fastpath.py"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect, rather than skip, what an interpreted build does not have."""
    if COMPILED:
        return
    absent = [item for item in items if item.get_closest_marker("compiled")]
    config.hook.pytest_deselected(items=absent)
    items[:] = [item for item in items if item not in absent]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With TRUNKLINE_REQUIRE_ALL set, a skipped test is a failure: something that it needs is not installed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("TRUNKLINE_REQUIRE_ALL") or reporter is None:  # xdist workers have no reporter
        return
    skipped = reporter.stats.get("skipped", [])
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the skipped tests where they are failures."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped and os.environ.get("TRUNKLINE_REQUIRE_ALL"):
        terminalreporter.section("TRUNKLINE_REQUIRE_ALL is set: these tests must run, and were skipped", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2]}")
