import sys

import pytest

from benchmarks.build import BuildError, build


@pytest.fixture(scope="session")
def programs() -> None:
    """The compiled load generators and the floor server."""
    if sys.platform != "linux":
        pytest.skip("the benchmarks need Linux: CPU affinity and CPU clocks of other processes")
    try:
        build()
    except BuildError as error:
        pytest.skip(str(error))
