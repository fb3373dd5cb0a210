"""systemd: sockets from systemd itself where its tool is installed, and from a parent that does the same."""

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from trunkline import systemd

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no systemd")

SERVER = textwrap.dedent("""
    import asyncio, os
    from trunkline import serve
    from trunkline.systemd import listening_socket, notify

    async def handler(ws):
        await ws.send(f"{os.environ.get('LISTEN_FDS')} {await ws.recv()}")

    async def main():
        async with serve(handler, sock=listening_socket("chat")) as server:
            notify("READY=1")
            await asyncio.sleep(30)

    asyncio.run(main())
""")

# A service manager does this between fork and exec.
PARENT = textwrap.dedent("""
    import os, sys
    number = int(sys.argv[1])
    if number != 3:
        os.dup2(number, 3)
    os.set_inheritable(3, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="chat")
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
""")


def greet(port: int) -> str:
    from trunkline.sync.client import connect

    with connect(f"ws://127.0.0.1:{port}", proxy=None) as ws:
        ws.send("hello")
        return str(ws.recv())


def test_a_server_on_the_socket_of_its_parent(tmp_path: Path) -> None:
    program, reports = tmp_path / "server.py", tmp_path / "reports"
    program.write_text(SERVER)
    with socket.create_server(("127.0.0.1", 0)) as sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(reports))
        manager.settimeout(30)
        command = [sys.executable, "-c", PARENT, str(sock.fileno()), str(program)]
        environment = {**os.environ, "NOTIFY_SOCKET": str(reports)}
        with subprocess.Popen(command, pass_fds=[sock.fileno()], env=environment) as process:
            try:
                assert manager.recv(100) == b"READY=1"
                assert greet(sock.getsockname()[1]) == "None hello"
            finally:
                process.kill()


ACTIVATE = shutil.which("systemd-socket-activate")


@pytest.mark.skipif(ACTIVATE is None, reason="systemd-socket-activate is not installed")
def test_systemd_starts_the_server_for_the_first_client(tmp_path: Path) -> None:
    program = tmp_path / "server.py"
    program.write_text(SERVER)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert ACTIVATE is not None
    variables = [f"--setenv={name}" for name in ("PYTHONPATH", "HOME", "PATH") if name in os.environ]
    command = [ACTIVATE, f"--listen=127.0.0.1:{port}", "--fdname=chat", *variables, sys.executable, str(program)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert "Listening on" in process.stderr.readline()
            assert greet(port) == "None hello"
        finally:
            process.kill()


def run(code: str, **variables: str) -> str:
    """Start a program with the variables, return its output; the value PID stands for its own number."""
    prelude = "import os\nif os.environ.get('LISTEN_PID') == 'PID': os.environ['LISTEN_PID'] = str(os.getpid())\n"
    command = [sys.executable, "-c", prelude + code]
    result = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=True)
    return result.stdout.strip()


LOOK = "from trunkline import systemd; print(systemd.listening_sockets(), os.environ.get('LISTEN_FDS'))"


def test_sockets_of_a_parent_are_left_alone() -> None:
    assert run(LOOK, LISTEN_PID="1", LISTEN_FDS="1") == "{} 1"
    assert run(LOOK) == "{} None"


def test_the_sockets_are_taken_once() -> None:
    assert run(f"{LOOK}; print(systemd.listening_sockets())", LISTEN_PID="PID", LISTEN_FDS="0") == "{} None\n{}"


def test_what_is_no_number() -> None:
    catch = "from trunkline import systemd\ntry: systemd.listening_sockets()\nexcept ValueError as error: print(error)"
    expected = "LISTEN_FDS is 'two': it must be the number of sockets"
    assert run(catch, LISTEN_PID="PID", LISTEN_FDS="two") == expected


def test_without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "_taken", None)
    monkeypatch.delenv("LISTEN_PID", raising=False)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with pytest.raises(LookupError, match="0 listening sockets named 'chat'"):
        systemd.listening_socket("chat")
    assert systemd.notify("READY=1") is False


def test_several_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as first, socket.socket() as second:
        monkeypatch.setattr(systemd, "_taken", {"chat": [first], "metrics": [second]})
        assert systemd.listening_socket("metrics") is second
        with pytest.raises(LookupError, match=r"2 listening sockets \(names: chat, metrics\)"):
            systemd.listening_socket()
