from click.testing import CliRunner

from trunkline.cli.commands import trunkline
from trunkline.version import __version__


def test_version() -> None:
    for arguments in (["--version"], ["connect", "--version"]):
        assert __version__ in CliRunner().invoke(trunkline, arguments).output


def test_a_url_alone_means_connect() -> None:
    shown = CliRunner().invoke(trunkline, ["http://localhost/"])
    assert shown.exit_code == 2
    assert "Usage: trunkline connect" in shown.output


def test_options_may_stand_before_the_url() -> None:
    shown = CliRunner().invoke(trunkline, ["--insecure", "ws://localhost/"])
    assert shown.exit_code == 2
    assert "only wss:// has them" in shown.output


def test_a_url_as_the_value_of_an_option_does_not() -> None:
    shown = CliRunner().invoke(trunkline, ["chat", "--origin", "https://example.com", "--port", "x"])
    assert "Usage: trunkline chat" in shown.output


def test_a_command_that_does_not_exist() -> None:
    assert CliRunner().invoke(trunkline, ["conect"]).exit_code == 2
