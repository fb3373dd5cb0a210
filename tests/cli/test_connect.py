"""``trunkline connect`` as a process of its own, through pipes and on a terminal."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.support.loop import run_clean
from tests.support.pair import echo, port_of, serve
from tests.support.process import environment
from trunkline.asyncio.server import ServerConnection
from trunkline.cli.connect import escape, summary

Handler = Callable[[ServerConnection], Awaitable[None]]


def connect(
    handler: Handler, stdin: bytes, *options: str, eof: bool = True, **serve_options: Any
) -> tuple[int | None, str, str]:
    """Run ``trunkline connect`` against a server with this handler: exit status, standard output, standard error."""

    async def main() -> tuple[int | None, str, str]:
        async with serve(handler, **serve_options) as server:
            pipe = asyncio.subprocess.PIPE
            command = ("-m", "trunkline", f"ws://127.0.0.1:{port_of(server)}/", *options)
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment()
            )
            assert process.stdin is not None
            if eof:
                output, errors = await process.communicate(stdin)
            else:
                process.stdin.write(stdin)
                assert process.stdout is not None
                assert process.stderr is not None
                output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
                process.stdin.close()
                await process.wait()
            return process.returncode, output.decode(), errors.decode()

    return run_clean(main)


def test_lines_go_out_and_messages_come_back() -> None:
    status, output, errors = connect(echo, "one\n\ntwo\r\n最后".encode())
    assert (status, output) == (0, "one\n\ntwo\n最后\n")
    assert errors == "Connected.\nConnection closed: 1000 (OK).\n"


def test_what_arrives_cannot_control_the_terminal() -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("\x1b[2J red\r\n\u202e")
        await connection.send(bytes(40))
        await connection.close(1000, "bye \x07")

    status, output, errors = connect(handler, b"")
    assert status == 0
    assert output == f"\\x1b[2J red\\r\\n\\u202e\nbinary, 40 bytes: {'00 ' * 32}...\n"
    assert "1000 (OK) bye \\x07" in errors


@pytest.mark.parametrize(("code", "status"), [(1000, 0), (1001, 0), (1008, 1), (1011, 1), (4000, 1)])
def test_the_exit_status_follows_the_close_code(code: int, status: int) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.close(code)

    # Standard input stays open: the server's word is enough to end.
    exit_status, _, errors = connect(handler, b"", eof=False)
    assert exit_status == status
    assert f"Connection closed: {code}" in errors


def test_a_connection_that_breaks_is_a_failure() -> None:
    async def handler(connection: ServerConnection) -> None:
        connection.transport.abort()

    status, _, errors = connect(handler, b"", eof=False)
    assert status == 1
    assert "1006" in errors


def test_options_shape_the_handshake() -> None:
    async def handler(connection: ServerConnection) -> None:
        assert connection.request is not None
        await connection.send(f"{connection.subprotocol} {connection.request.headers['X-Room']}")
        await connection.send(str(connection.request.headers["Origin"]))

    options = ("--subprotocol", "a", "--subprotocol", "b", "--header", "X-Room: tea", "--origin", "http://o.example")
    status, output, errors = connect(handler, b"", *options, subprotocols=["b"])
    assert (status, output) == (0, "b tea\nhttp://o.example\n")
    assert errors.startswith("Connected, speaking b.\n")


def test_input_that_is_no_text_is_refused() -> None:
    status, _, errors = connect(echo, b"fine\n\xff\n")
    assert status == 1
    assert "line 2 of the input is not UTF-8" in errors


@pytest.mark.parametrize(
    ("arguments", "status", "problem"),
    [
        (["http://127.0.0.1/"], 2, "scheme"),
        (["ws://127.0.0.1:1/", "--header", "nothing"], 2, "write it as 'Name: value'"),
        (["ws://127.0.0.1:1/"], 1, "cannot connect to ws://127.0.0.1:1/"),
    ],
)
def test_what_cannot_work_is_said(arguments: list[str], status: int, problem: str) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trunkline", "connect", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, env=environment(),
        )  # fmt: skip
        _, errors = await process.communicate()
        assert process.returncode == status
        assert problem in errors.decode()
        assert b"Traceback" not in errors

    run_clean(main)


def test_an_option_that_no_handshake_can_hold_is_wrong_usage() -> None:
    status, _, errors = connect(echo, b"", "--subprotocol", "not a token")
    assert status == 2
    assert "invalid subprotocol: not a token" in errors


def test_who_stops_reading_ends_it_without_a_word() -> None:
    async def main() -> None:
        async def chatter(connection: ServerConnection) -> None:
            while True:
                await connection.send("more")

        async with serve(chatter) as server:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "trunkline", f"ws://127.0.0.1:{port_of(server)}/",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env=environment(),
            )  # fmt: skip
            assert process.stdout is not None
            assert process.stderr is not None
            await process.stdout.readline()
            process.stdout._transport.close()  # type: ignore[attr-defined]
            assert await process.stderr.read() == b"Connected.\n"
            assert await process.wait() == 1

    run_clean(main)


def test_on_a_terminal() -> None:
    async def main() -> None:
        async with serve() as server:
            terminal, end = pty.openpty()
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "trunkline", f"ws://127.0.0.1:{port_of(server)}/",
                stdin=end, stdout=end, stderr=end, env=environment(TERM="xterm"),
            )  # fmt: skip
            os.close(end)
            shown = ""
            talk = {"": "Connected.", "hello\r": "< hello", "/ping\r": "Pong after", "/close\r": "1000 (OK)"}
            for typed, answer in talk.items():
                os.write(terminal, typed.encode())
                while answer not in shown:
                    shown += (await asyncio.to_thread(os.read, terminal, 65536)).decode()
            assert await asyncio.wait_for(process.wait(), 30) == 0
            os.close(terminal)

    run_clean(main)


def test_escape_leaves_ordinary_text_alone() -> None:
    assert escape("naïve 👩\u200d💻 \\n") == "naïve 👩\u200d💻 \\n"


def test_summary_of_few_bytes_is_all_of_them() -> None:
    assert summary(b"\x01\xff") == "binary, 2 bytes: 01 ff"
