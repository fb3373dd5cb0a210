import re
import ssl
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from click.testing import CliRunner

from trunkline import build_record
from trunkline.asyncio import engine
from trunkline.asyncio.engine import engine_info
from trunkline.cli import doctor
from trunkline.version import __version__


def test_the_report_names_what_a_fault_may_depend_on() -> None:
    shown = CliRunner().invoke(doctor.doctor)
    assert shown.exit_code == 0
    for part in (__version__, ssl.OPENSSL_VERSION, "EventLoop", engine_info()["engine"], *engine_info()["compiled"]):
        assert part in shown.output


def test_a_library_that_is_not_installed_comes_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "rich":
            raise PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    rows = {name: (version, purpose) for name, version, purpose in doctor.optional_libraries()}
    assert rows["rich"] == ("not installed", "for the command line: pip install 'trunkline[cli]'")
    assert rows["click"] == ("1.0", "for the command line")


def test_what_is_shown_is_what_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Markup has brackets, too, and those of an extra or of a path must not be taken for it."""

    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setattr(doctor.sys, "executable", "/opt/[bold]/:smile:/python")
    shown = CliRunner().invoke(doctor.doctor).output
    assert "/opt/[bold]/:smile:/python" in shown
    for _, purpose, requirement in doctor.OPTIONAL:
        assert f"for {purpose}: pip install '{requirement}'" in shown


def test_all_extras_are_listed() -> None:
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"]
    listed = {(name, requirement) for name, _, requirement in doctor.OPTIONAL}
    for extra, requirements in extras.items():
        for requirement in requirements:
            name = re.split(r"[\[<>=]", requirement)[0]
            assert (name, f"trunkline[{extra}]") in listed
    assert {requirement for _, requirement in listed} <= {f"trunkline[{extra}]" for extra in extras} | {"uvloop"}


def test_modules_that_could_not_be_compiled_come_with_reason_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_record, "WANTED", ("trunkline.asyncio.absent",))
    monkeypatch.setattr(build_record, "FAILURE", "the build failed: no compiler")
    monkeypatch.setattr(engine, "COMPILED_MODULES", build_record.WANTED)
    rows = {name: (version, note) for name, version, note in doctor.build()}
    assert rows["trunkline.asyncio.absent"] == ("not compiled", "the build failed: no compiler")
    assert "pip install --force-reinstall" in rows["remedy"][1]
