"""Every store is measured."""

import subprocess
import sys

from tests.support.process import environment
from tests.support.redis import needs_redis, running


def test_all_stores_have_their_rows() -> None:
    command = [sys.executable, "-m", "benchmarks.stores", "--publications=1", "--channels=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=environment(), check=True)
    rows = [line[:24].strip() for line in done.stdout.splitlines()[1:]]
    assert rows == ["memory://"] * 3 + ["sqlite, full"] * 3 + ["sqlite, normal"] * 3


@needs_redis
def test_redis_has_rows_where_there_is_one() -> None:
    with running() as server:
        command = [sys.executable, "-m", "benchmarks.stores", "--publications=1", "--channels=1", "--redis", server.url]
        lines = subprocess.run(
            command, capture_output=True, text=True, env=environment(), check=True
        ).stdout.splitlines()
    assert [line.split()[:2] for line in lines[-3:]] == [["redis", "1"], ["redis", "50"], ["redis", "1000"]]
