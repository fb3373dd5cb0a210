"""Client libraries for JavaScript against our realtime server: the npm package centrifuge as it is, and trunkline.js.

Each runs the scenarios of `node/realtime/scenarios.mjs` in Node and in a headless Chromium.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import chromium
from tests.support.process import realtime_process

NODE = Path(__file__).parent / "node"
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


@contextlib.contextmanager
def realtime_server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A realtime server as the scenarios expect it, and its address. It serves the files of this directory, too."""
    if not (NODE / "node_modules" / "centrifuge").exists():
        pytest.skip("the npm package centrifuge is not installed: run `npm install` in tests/interop/node")
    with realtime_process(NODE) as server:
        yield server


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a realtime server."""
    with realtime_server() as (_, url):
        yield url


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


def test_trunkline_js_leaves_a_server_that_falls_silent() -> None:
    with chromium() as browser, realtime_server() as (process, url):
        page = browser.new_page()
        page.goto(f"{url}/tests/realtime/page.html")
        page.evaluate(
            """async (url) => {
                const { Client } = await import("/trunkline.js");
                window.client = new Client("/connection/websocket", { pingDelay: 1000, timeout: 1000, maxDelay: 500 });
                window.room = client.subscribe("room:silent");
                window.heard = [];
                for (const type of ["connecting", "subscribed"])
                    for (const target of [client, room])
                        target.addEventListener(type, ({ reason, recovered }) => heard.push(reason ?? recovered));
                room.addEventListener("publication", ({ data }) => heard.push(data.text));
                client.connect();
                await room.ready();
                await room.publish({ text: "before" });
            }""",
            url,
        )
        process.send_signal(signal.SIGSTOP)
        page.wait_for_function("() => heard.includes('no ping')")
        process.send_signal(signal.SIGCONT)
        page.wait_for_function("() => heard.includes(true)")
        page.evaluate("room.publish({ text: 'after' })")
        page.wait_for_function("() => heard.includes('after')")
        assert page.evaluate("heard.filter((each) => each === 'before' || each === 'after')") == ["before", "after"]
