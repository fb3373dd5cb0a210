"""Client libraries for JavaScript against our realtime server: the npm package centrifuge as it is, and trunkline.js.

Each runs the scenarios of `node/realtime/scenarios.mjs` in Node and in a headless Chromium.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import chromium
from tests.support.process import environment

NODE = Path(__file__).parent / "node"
SERVER = Path(__file__).parents[1] / "support" / "realtime.py"
CLIENTS = [("centrifuge", "json"), ("centrifuge", "protobuf"), ("trunkline.js", "json")]

IN_CHROMIUM = """
async ([client, format, url]) => {
    const { official, ours } = await import("/tests/realtime/clients.mjs");
    const { runAll } = await import("/tests/realtime/scenarios.mjs");
    const endpoint = url.replace("http", "ws") + "/connection/websocket";
    const open = client === "trunkline.js"
        ? ours((await import("/trunkline.js")).Client, endpoint)
        : official(window.Centrifuge, format, endpoint);
    return runAll(open, { url });
}
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A realtime server as the scenarios expect it, which also serves what a page needs of this directory."""
    if not (NODE / "node_modules" / "centrifuge").exists():
        pytest.skip("the npm package centrifuge is not installed: run `npm install` in tests/interop/node")
    with subprocess.Popen(
        [sys.executable, SERVER, "0", NODE],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found, "the server did not start"
        yield found[0]
        process.terminate()


def assert_all_well(results: dict[str, Any]) -> None:
    assert len(results) > 10
    failed = {name: problem for name, problem in results.items() if problem is not None}
    assert not failed, "\n\n".join(f"{name}: {problem}" for name, problem in failed.items())


@pytest.mark.parametrize(("client", "format"), CLIENTS)
def test_in_node(url: str, client: str, format: str, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    trunkline_js = tmp_path / "trunkline.mjs"  # .mjs: outside a browser a module is known by its name
    trunkline_js.write_bytes((files("trunkline.realtime") / "js" / "trunkline.js").read_bytes())
    command = ["node", NODE / "realtime" / "main.mjs", client, format, url, trunkline_js.as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert_all_well(json.loads(ran.stdout))


@pytest.mark.parametrize(("client", "format"), CLIENTS)
def test_in_chromium(url: str, client: str, format: str) -> None:
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"{url}/tests/realtime/page.html")
        if client == "centrifuge":
            bundle = {"json": "centrifuge.js", "protobuf": "centrifuge.protobuf.js"}[format]
            page.add_script_tag(url=f"/tests/node_modules/centrifuge/dist/{bundle}")
        assert_all_well(page.evaluate(IN_CHROMIUM, [client, format, url]))
