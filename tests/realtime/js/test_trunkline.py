"""trunkline.js by itself, under the test runner of Node (see trunkline.test.mjs)."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest


def test_trunkline_js_against_a_scripted_server(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    module = tmp_path / "trunkline.mjs"  # .mjs: outside a browser a module is known by its name
    module.write_bytes((files("trunkline.realtime") / "js" / "trunkline.js").read_bytes())
    tests = Path(__file__).with_name("trunkline.test.mjs")
    ran = subprocess.run(
        ["node", "--test", tests],
        capture_output=True,
        text=True,
        env=os.environ | {"TRUNKLINE_JS": module.as_uri()},
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "# pass 0" not in ran.stdout, ran.stdout
