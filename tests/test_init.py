"""The public names: those of websockets are all there."""

from __future__ import annotations

import pytest
import websockets

import trunkline


def test_no_name_of_websockets_is_missing() -> None:
    assert len(websockets.__all__) == 66
    assert set(websockets.__all__) - set(trunkline.__all__) == set()


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
