"""setup.py, on a package of one module: what TRUNKLINE_EXTENSIONS asks for, with a compiler and with a broken one."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from trunkline.compiled import COMPILED_MODULES

COMPILER = shutil.which(sysconfig.get_config_var("CC").split()[0])
SETUP = Path(__file__).parents[2] / "setup.py"
PACKAGE = SETUP.with_name("src") / "trunkline"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(SETUP, tmp_path)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "trunkline"\nversion = "0"\n[tool.setuptools.packages.find]\nwhere = ["src"]\n'
    )
    (tmp_path / "src" / "trunkline" / "core").mkdir(parents=True)
    for name in ("trunkline/__init__.py", "trunkline/core/__init__.py", "trunkline/core/reader.py"):
        (tmp_path / "src" / name).write_text("")
    for name in ("build_record.py", "compiled.py"):
        shutil.copy(PACKAGE / name, tmp_path / "src" / "trunkline")
    return tmp_path


def build(project: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "setup.py", "--quiet", "build"]
    env = {**os.environ, "TRUNKLINE_EXTENSIONS": "auto", **environment}
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)


def built(project: Path) -> set[str]:
    """The suffixes of the built `reader` module: the source always, the extension if there is one."""
    return {path.suffix for path in project.glob("build/*/lib*/trunkline/core/reader*")}


def missing(project: Path) -> str:
    """What `missing_modules` says in a program that uses what was built."""
    (library,) = project.glob("build/*/lib*")
    program = "from trunkline import compiled; print(compiled.missing_modules())"
    env = {**os.environ, "PYTHONPATH": str(library)}
    return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
@pytest.mark.parametrize("mode", ["auto", "require"])
def test_the_extension_stands_beside_its_source(project: Path, mode: str) -> None:
    result = build(project, TRUNKLINE_EXTENSIONS=mode)
    assert result.returncode == 0, result.stderr
    assert built(project) == {".py", ".so"}
    assert not list(project.glob("src/**/*.so"))
    assert missing(project) == "{}\n"


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
def test_an_extension_that_was_lost_after_the_build_is_missing(project: Path) -> None:
    build(project)
    (extension,) = project.glob("build/*/lib*/trunkline/core/*.so")
    extension.unlink()
    assert missing(project) == f"{{'trunkline.core.reader': 'there is no file {extension.name}'}}\n"


@pytest.mark.skipif(COMPILER is None or sys.platform != "linux", reason="looks at what a compiler makes on Linux")
@pytest.mark.parametrize(
    ("setting", "symbols"), [({}, False), ({"TRUNKLINE_DEBUG": "1"}, True), ({"TRUNKLINE_SANITIZE": "undefined"}, True)]
)
def test_extensions_are_stripped_unless_built_for_a_debugger(
    project: Path, setting: dict[str, str], symbols: bool
) -> None:
    result = build(project, TRUNKLINE_EXTENSIONS="require", **setting)
    assert result.returncode == 0, result.stderr
    (module,) = project.glob("build/*/lib*/trunkline/core/*.so")
    sections = module.read_bytes()
    assert (b".symtab" in sections) is symbols
    assert (b".debug_info" in sections) is symbols


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_generate_c_need_not_be_forked(project: Path, method: str) -> None:
    setup = project / "setup.py"
    setup.write_text(
        f"import multiprocessing\nmultiprocessing.set_start_method({method!r}, force=True)\n{setup.read_text()}"
    )
    result = build(project, TRUNKLINE_EXTENSIONS="require")
    assert result.returncode == 0, result.stderr
    assert built(project) == {".py", ".so"}


def test_auto_says_loudly_that_it_goes_on_without_extensions(project: Path) -> None:
    result = build(project, CC="false")
    assert result.returncode == 0, result.stderr
    assert "the extension modules were NOT built" in result.stderr
    assert built(project) == {".py"}
    assert missing(project).startswith("{'trunkline.core.reader': \"the build failed: ")


def test_require_fails_without_a_compiler(project: Path) -> None:
    result = build(project, TRUNKLINE_EXTENSIONS="require", CC="false")
    assert result.returncode != 0


@pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")
def test_strict_fails_where_a_newer_compiler_would(project: Path) -> None:
    # For Cython the annotation of a coroutine is the type that the C function returns, which it isn't.
    (project / "src/trunkline/core/reader.py").write_text(
        "import cython\n@cython.cclass\nclass C:\n    pass\nasync def make() -> C:\n    return C()\n"
    )
    result = build(project, TRUNKLINE_EXTENSIONS="require", TRUNKLINE_STRICT="1")
    assert result.returncode != 0
    assert "incompatible" in result.stderr


def test_off_compiles_nothing(project: Path) -> None:
    result = build(project, TRUNKLINE_EXTENSIONS="off", CC="false")
    assert result.returncode == 0, result.stderr
    assert "NOT built" not in result.stderr
    assert built(project) == {".py"}
    assert missing(project) == "{}\n"


def test_the_record_of_sources_in_place_is_left_alone(project: Path) -> None:
    env = {**os.environ, "TRUNKLINE_EXTENSIONS": "auto", "CC": "false"}
    command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    subprocess.run(command, cwd=project, env=env, capture_output=True, check=True)
    assert (project / "src/trunkline/build_record.py").read_bytes() == (PACKAGE / "build_record.py").read_bytes()
    assert not list(project.glob("build/*/lib*/trunkline/build_record.py"))


def test_a_value_that_means_nothing_is_refused(project: Path) -> None:
    result = build(project, TRUNKLINE_EXTENSIONS="on")
    assert "TRUNKLINE_EXTENSIONS is 'on': it must be auto, require or off" in result.stderr
    assert result.returncode != 0


def test_what_can_be_compiled_is_the_same_for_setup_and_the_package() -> None:
    names = re.findall(r'^ .*\("(trunkline\.[\w.]+)", "src/', SETUP.read_text(encoding="utf-8"), re.MULTILINE)
    assert names == list(COMPILED_MODULES)
