import asyncio
import importlib.util
import os
import sys
from pathlib import Path

import pytest

import trunkline
from compliance import testees
from compliance.testees import TESTEES, ComplianceError, Testee, choose
from tests.support.pair import connect, port_of, serve

BUILD = "compiled" if all(trunkline.engine_info()["compiled"].values()) else "interpreted"
HERE = [testee for testee in TESTEES if not testee.is_subject or testee.name.endswith(f"/{BUILD}")]
MESSAGES = ["", "é" * 1000, b"\x00\xff", bytes(5 << 20)]
"""The last is larger than any library takes by default."""


@pytest.fixture(params=HERE, ids=lambda testee: testee.name)
def testee(request: pytest.FixtureRequest) -> Testee:
    chosen: Testee = request.param
    if importlib.util.find_spec(chosen.distribution) is None:
        pytest.skip(f"{chosen.distribution} is not installed")
    return chosen


async def exchange(ws: trunkline.Connection) -> list[trunkline.Data]:
    answers = []
    for message in MESSAGES:
        await ws.send(message)
        answers.append(await ws.recv())
    return answers


def test_server_echoes(testee: Testee, tmp_path: Path) -> None:
    async def main(port: int) -> None:
        async with connect(port, max_size=None) as ws:
            assert await exchange(ws) == MESSAGES

    with testee.serving(tmp_path / "log") as port:
        asyncio.run(main(port))


def test_client_goes_through_all_cases_and_asks_for_the_report(testee: Testee, tmp_path: Path) -> None:
    paths, answers = [], []

    async def fuzz(ws: trunkline.ServerConnection) -> None:
        assert ws.request is not None
        paths.append(ws.request.path)
        if ws.request.path == "/getCaseCount":
            await ws.send("2")
        elif ws.request.path.startswith("/runCase?case=1&"):
            answers.extend(await exchange(ws))
        elif ws.request.path.startswith("/runCase?case=2&"):
            ws.transport.abort()

    async def main() -> None:
        async with serve(fuzz, max_size=None) as server:
            url = f"ws://127.0.0.1:{port_of(server)}"
            await asyncio.to_thread(testee.run_client, url, tmp_path / "log")

    asyncio.run(main())
    wanted = ["/getCaseCount", "/runCase?case=1&agent=peer", "/runCase?case=2&agent=peer", "/updateReports?agent=peer"]
    assert paths == wanted
    assert answers == MESSAGES


def test_a_client_that_cannot_connect_is_an_error(testee: Testee, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(ComplianceError, match=rf"the client of {testee.name} failed: .* exit status 1.; see {log}"):
        testee.run_client("ws://127.0.0.1:1", log)
    assert "Traceback" in log.read_text()


def test_a_server_that_does_not_start_is_an_error(tmp_path: Path) -> None:
    nobody = Testee("nobody", "nobody", "nobody")
    with (
        pytest.raises(ComplianceError, match=r"(?s)the server of nobody did not start:.*compliance\.peers\.nobody"),
        nobody.serving(tmp_path / "log"),
    ):
        pass


def test_a_server_that_does_not_live_to_the_end_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Testee, "_command", [sys.executable, "-c", "print('listening', 1)"])
    with (
        pytest.raises(ComplianceError, match="the server of nobody ended during the test; see "),
        Testee("nobody", "nobody", "nobody").serving(tmp_path / "log"),
    ):
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)  # until the only child has ended


def test_another_build_than_the_one_to_test_is_an_error(tmp_path: Path) -> None:
    other = testees.trunkline("transports", BUILD)
    other.environment["COMPLIANCE_BUILD"] = "other"
    with (
        pytest.raises(ComplianceError, match=f"is the {BUILD} build, and the other one is to be tested"),
        other.serving(tmp_path / "log"),
    ):
        pass


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (None, [testee.name for testee in TESTEES]),
        (["aiohttp"], ["aiohttp"]),
        (["*/compiled", "websockets"], ["trunkline/reactor/compiled", "trunkline/transports/compiled", "websockets"]),
    ],
)
def test_choice_by_pattern(patterns: list[str] | None, names: list[str]) -> None:
    assert [testee.name for testee in choose(patterns)] == names


def test_an_unknown_implementation_is_named() -> None:
    with pytest.raises(ComplianceError, match=r"no implementation is named 'websocket'; there are .*, websockets, "):
        choose(["aiohttp", "websocket"])
