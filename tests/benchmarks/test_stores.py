"""Every store is measured."""

import subprocess
import sys

from tests.support.process import environment


def test_all_stores_have_their_rows() -> None:
    command = [sys.executable, "-m", "benchmarks.stores", "--publications=1", "--channels=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment(), check=True)
    rows = [line[:24].strip() for line in done.stdout.splitlines()[1:]]
    assert rows == ["memory://"] * 3 + ["sqlite, full"] * 3 + ["sqlite, normal"] * 3
