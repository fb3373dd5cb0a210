import subprocess
import sys

import pytest

from tests.support.process import environment

WITHOUT = "import sys; sys.modules[{library!r}] = None; from trunkline.cli import main; main()"


@pytest.mark.parametrize("library", ["click", "rich", "prompt_toolkit"])
def test_a_missing_library_is_one_line_that_names_the_extra(library: str) -> None:
    program = WITHOUT.format(library=library)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert ran.returncode == 1
    assert ran.stderr.count("\n") == 1
    assert library in ran.stderr
    assert "pip install 'trunkline[cli]'" in ran.stderr


def test_another_missing_module_is_a_fault_and_shows_as_one() -> None:
    program = WITHOUT.format(library="trunkline.chat.rooms")
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
