"""The programs of a published tutorial for `websockets`, unchanged but for their import, run as users run them.

They use two-argument handlers, and `serve(...)` outside of a coroutine. Only their port number is rewritten, to a free
one, so that they can run at the same time. Their peers are the tutorial's own clients, and the `websockets` package.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets

from tests.support.process import environment, free_port, wait_until_it_listens
from tests.support.raw import TEXT, RawPeer, encode_frame

PROGRAMS = Path(__file__).with_name("programs")
PORT = "8765"
PATIENCE = 20


def source(program: str, port: int) -> str:
    """A program of the tutorial, on another port."""
    text = (PROGRAMS / f"{program}.py").read_text(encoding="utf-8")
    assert PORT in text
    return text.replace(PORT, str(port))


def command(program: str, port: int) -> list[str]:
    return [sys.executable, "-c", source(program, port)]


def run_client(program: str, port: int) -> str:
    """Run a client program of the tutorial to its end, and return its output."""
    result = subprocess.run(
        command(program, port),
        env=environment(PYTHONUTF8="1"),
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


class Program:
    """A server program of the tutorial that runs."""

    def __init__(self, name: str) -> None:
        if sys.version_info >= (3, 14) and "get_event_loop" in source(name, 0):
            pytest.skip("from Python 3.14 on, asyncio.get_event_loop() makes no event loop, as this program expects")
        self.port = free_port("0.0.0.0")
        self.process = subprocess.Popen(
            command(name, self.port),
            env=environment(PYTHONUTF8="1"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    def read_line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def stop(self) -> tuple[str, str]:
        """End it; the rest of its output, and its errors."""
        self.process.terminate()
        return self.process.communicate(timeout=PATIENCE)


@contextlib.contextmanager
def running(name: str) -> Iterator[Program]:
    """Run a server program; it must not write errors, whatever its clients did."""
    program = Program(name)
    try:
        wait_until_it_listens(program.process, program.port, "127.0.0.1")
        yield program
    finally:
        _, errors = program.stop()
    assert "Traceback" not in errors, errors
    assert "Warning" not in errors or "DeprecationWarning: There is no current event loop" in errors, errors


def uri(program: Program) -> str:
    return f"ws://localhost:{program.port}"


async def ask(program: Program, *messages: str) -> list[str | bytes]:
    """Send messages with the client of `websockets`, one after the other; the answers."""
    async with websockets.connect(uri(program), proxy=None) as ws:
        answers = []
        for message in messages:
            await ws.send(message)
            answers.append(await ws.recv())
        return answers


async def join(stack: contextlib.AsyncExitStack, program: Program) -> websockets.ClientConnection:
    return await stack.enter_async_context(websockets.connect(uri(program), proxy=None))


def test_echo_server_with_the_client_of_the_tutorial() -> None:
    with running("echo_server") as server:
        assert run_client("client", server.port) == "服务器响应: 服务器响应: Hello, WebSocket Server\n"
        assert server.read_line() == "收到消息: Hello, WebSocket Server"


def test_echo_server_with_the_client_of_websockets() -> None:
    with running("echo_server") as server:
        answers = asyncio.run(ask(server, "你好", "", "🚀" * 1000))
        assert answers == ["服务器响应: 你好", "服务器响应: ", "服务器响应: " + "🚀" * 1000]
        assert server.read_line() == "收到消息: 你好"


def test_broadcast_server_sends_to_every_client() -> None:
    async def main(server: Program) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for n in range(5):
                clients.append(await join(stack, server))
                await clients[-1].send(f"我是 {n}")
                assert [await client.recv() for client in clients] == [f"广播消息: 我是 {n}"] * (n + 1)
            left = clients.pop()
            await left.close()
            # The program sends to a client that left until its handler has seen the end; a round trip later it has.
            await (await clients[0].ping())
            await clients[0].send("还有谁?")
            assert [await client.recv() for client in clients] == ["广播消息: 还有谁?"] * 4

    with running("broadcast_server") as server:
        asyncio.run(main(server))
        assert server.read_line() == "收到消息: 我是 0"


def test_broadcast_server_with_the_client_of_the_tutorial() -> None:
    with running("broadcast_server") as server:
        assert run_client("client", server.port) == "服务器响应: 广播消息: Hello, WebSocket Server\n"


def test_exceptions_server_answers() -> None:
    with running("exceptions_server") as server:
        assert run_client("client", server.port) == "服务器响应: 服务器回复: Hello, WebSocket Server\n"
        assert server.read_line() == "收到: Hello, WebSocket Server"
        assert asyncio.run(ask(server, "你好")) == ["服务器回复: 你好"]


@pytest.mark.parametrize("fault", ["reset", "invalid UTF-8", "reserved opcode"])
def test_exceptions_server_notices_clients_that_break_off(fault: str) -> None:
    async def break_off(server: Program) -> None:
        async with await RawPeer.open(server.port) as peer:
            match fault:
                case "reset":
                    peer.reset()
                case "invalid UTF-8":
                    await peer.send(encode_frame(TEXT, b"\xff"))
                    assert await peer.read_close() == 1007
                case "reserved opcode":
                    await peer.send(encode_frame(0x3))
                    assert await peer.read_close() == 1002

    with running("exceptions_server") as server:
        asyncio.run(break_off(server))
        assert server.read_line() == "客户端连接关闭"
        assert asyncio.run(ask(server, "还在吗?")) == ["服务器回复: 还在吗?"]


def test_json_server_with_the_client_of_the_tutorial() -> None:
    with running("json_server") as server:
        assert run_client("json_client", server.port) == "服务器响应: {'message': '收到: Hello, Server'}\n"


def test_json_server_with_the_client_of_websockets() -> None:
    with running("json_server") as server:
        (answer,) = asyncio.run(ask(server, '{"content": "你好"}'))
        assert answer == '{"message": "\\u6536\\u5230: \\u4f60\\u597d"}'


def test_chat_server_sends_to_every_client() -> None:
    async def main(server: Program) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for message in ("大家好", "你好!", "再见"):
                clients.append(await join(stack, server))
                await clients[-1].send(message)
                for client in clients:
                    assert await client.recv() == message

    with running("chat_server") as server:
        asyncio.run(main(server))
        assert run_client("client", server.port) == "服务器响应: Hello, WebSocket Server\n"


def test_servers_are_ended_by_an_interrupt() -> None:
    program = Program("echo_server")
    wait_until_it_listens(program.process, program.port, "127.0.0.1")
    os.kill(program.process.pid, 2)
    _, errors = program.process.communicate(timeout=PATIENCE)
    assert "KeyboardInterrupt" in errors
