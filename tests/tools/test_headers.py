"""Our own C, which the extension modules include: no warnings, whichever compiler there is."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "src"
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.mark.skipif(not COMPILERS, reason="there is no C compiler")
@pytest.mark.parametrize("header", sorted(SOURCES.rglob("*.h")), ids=lambda path: path.name)
def test_compiles_without_a_warning(tmp_path: Path, header: Path) -> None:
    program = tmp_path / "program.c"
    program.write_text(f'#include <Python.h>\n#include "{header}"\n')
    include = "-isystem" + sysconfig.get_path("include")  # warnings about Python's own headers are not ours
    for compiler in COMPILERS:
        command = [compiler, "-Wall", "-Wextra", "-Werror", "-O2", include, "-c", program, "-o", tmp_path / "program.o"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
