import ssl
from importlib.metadata import PackageNotFoundError

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
    rows = {name: (found, purpose) for name, found, purpose in doctor.optional_libraries()}
    assert rows["rich"] == ("not installed", "for the command line: pip install 'trunkline[cli]'")
    assert rows["click"] == ("1.0", "for the command line")


def test_modules_that_could_not_be_compiled_come_with_reason_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_record, "WANTED", ("trunkline.asyncio.absent",))
    monkeypatch.setattr(build_record, "FAILURE", "the build failed: no compiler")
    monkeypatch.setattr(engine, "COMPILED_MODULES", build_record.WANTED)
    rows = {name: (found, note) for name, found, note in doctor.build()}
    assert rows["trunkline.asyncio.absent"] == ("not compiled", "the build failed: no compiler")
    assert "pip install --force-reinstall" in rows["remedy"][1]
