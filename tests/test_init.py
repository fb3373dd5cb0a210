"""The public names: those of websockets are all there."""

from __future__ import annotations

import subprocess
import sys

import pytest
import websockets

import trunkline


def test_no_name_of_websockets_is_missing() -> None:
    assert len(websockets.__all__) == 66
    assert set(websockets.__all__) - set(trunkline.__all__) == set()


@pytest.mark.parametrize("module", ["", ".sync.server", ".trio.server", ".realtime"])
def test_importing_warns_of_nothing(module: str) -> None:
    """On the newest Python, too, whose deprecations are errors of the next one."""
    program = f"import warnings; warnings.simplefilter('error', DeprecationWarning); import trunkline{module}"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", trunkline.__all__)
def test_public_names_exist(name: str) -> None:
    assert hasattr(trunkline, name)


def test_public_names_are_unique() -> None:
    assert len(trunkline.__all__) == len(set(trunkline.__all__))


@pytest.mark.parametrize(
    ("old", "new"), [("WebSocketServerProtocol", "ServerConnection"), ("InvalidStatusCode", "InvalidStatus")]
)
def test_deprecated_names(old: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"{old} is deprecated: use {new}") as caught:
        assert getattr(trunkline, old) is getattr(trunkline, new)
    assert caught[0].filename == __file__


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        trunkline.missing  # type: ignore[attr-defined]  # noqa: B018
