"""``trunkline connect``: talk to a WebSocket server from a terminal or from a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import ssl as tls
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from typing import Any

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.patch_stdout import patch_stdout

from trunkline.asyncio import client
from trunkline.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI
from trunkline.frames import Close
from trunkline.typing import Origin, Subprotocol
from trunkline.uri import parse_uri
from trunkline.version import __version__

__all__ = ["connect"]

GOOD_CLOSE_CODES = (1000, 1001, 1005)
BINARY_SHOWN = 32  # bytes
CHUNK = 65_536  # bytes

# Characters that could move the cursor, change the terminal, or reverse the order of the text around them.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@click.command()
@click.argument("url")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Send this header field. Repeatable.")
@click.option("--subprotocol", "subprotocols", multiple=True, metavar="NAME",
              help="Offer this subprotocol. Repeatable, the preferred one first.")  # fmt: skip
@click.option("--origin", help="Send this Origin, as a web page from there would.")
@click.option("--insecure", is_flag=True, help="Do not verify the certificate of a wss:// server.")
@click.option("--wait", default=1.0, show_default=True, type=click.FloatRange(min=0), metavar="SECONDS",
              help="When input comes from a pipe: how long to listen after its end.")  # fmt: skip
@click.version_option(__version__, prog_name="trunkline")
def connect(
    url: str,
    headers: tuple[str, ...],
    subprotocols: tuple[str, ...],
    origin: str | None,
    insecure: bool,
    wait: float,
) -> None:
    """Send lines to the WebSocket server at URL and show its messages.

    On a terminal, /ping measures the round trip, and /close or Ctrl-D closes. From a pipe, each line is a message,
    and only messages go to standard output.

    \b
    Exit status:
      0  the connection was closed in order
      1  it failed, or ended in disorder
      2  wrong usage
    """
    check_url(url)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know fewer characters than the peer
    opening = partial(
        client.connect,
        url,
        additional_headers=[split_header(header) for header in headers],
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
        origin=Origin(origin) if origin else None,
        **tls_options(url, insecure),
    )
    try:
        if sys.stdin.isatty():
            with patch_stdout():
                code = asyncio.run(converse(opening, talk_on_terminal, mark="< "))
        else:
            code = asyncio.run(converse(opening, partial(talk_through_pipe, wait=wait), mark=""))
    except BrokenPipeError:
        raise  # the reader of our output has gone: click ends quietly
    except (OSError, InvalidHandshake) as error:  # TimeoutError is an OSError
        raise click.ClickException(f"cannot connect to {url}: {error or type(error).__name__}") from error
    except ValueError as error:  # an option holds what the handshake cannot
        raise click.UsageError(str(error)) from error
    sys.exit(code not in GOOD_CLOSE_CODES)


async def converse(
    opening: Callable[[], client.connect],
    talk: Callable[[client.ClientConnection], Coroutine[Any, Any, None]],
    *,
    mark: str,
) -> int | None:
    """Talk and listen until either side has had enough. Returns the close code."""
    async with opening() as connection:
        report(f"Connected, speaking {connection.subprotocol}." if connection.subprotocol else "Connected.")
        listening = asyncio.create_task(listen(connection, mark))
        talking = asyncio.create_task(talk(connection))
        await asyncio.wait({listening, talking}, return_when=asyncio.FIRST_COMPLETED)
        talking.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
            await talking
        await connection.close()
        await listening
    assert connection.close_code is not None
    report(f"Connection closed: {escape(str(Close(connection.close_code, connection.close_reason or '')))}.")
    return connection.close_code


async def listen(connection: client.ClientConnection, mark: str) -> None:
    """Show what arrives, one line for each message."""
    with contextlib.suppress(ConnectionClosed):
        async for message in connection:
            print(mark + (escape(message) if isinstance(message, str) else summary(message)), flush=True)


async def talk_on_terminal(connection: client.ClientConnection) -> None:
    """Send what is typed."""
    session: PromptSession[str] = PromptSession("> ")
    with contextlib.suppress(EOFError, KeyboardInterrupt):  # Ctrl-D, Ctrl-C
        while (line := await session.prompt_async()) != "/close":
            if line == "/ping":
                latency = await (await connection.ping())
                report(f"Pong after {latency * 1000:.1f} ms.")
            else:
                await connection.send(line)


async def talk_through_pipe(connection: client.ClientConnection, *, wait: float) -> None:
    """Send each line of standard input, then leave time for replies."""
    number = 0
    async for line in standard_input():
        number += 1
        try:
            text = line.removesuffix(b"\r").decode()
        except UnicodeDecodeError as error:
            raise click.ClickException(f"line {number} of the input is not UTF-8, as text must be: {error}") from error
        await connection.send(text)
    await asyncio.sleep(wait)


async def standard_input() -> AsyncIterator[bytes]:
    """Lines of standard input, whatever it is: a pipe, a file, or a terminal."""
    loop = asyncio.get_running_loop()
    chunks: asyncio.Queue[bytes] = asyncio.Queue()
    read_ahead = threading.Semaphore(4)

    def read() -> None:
        # os.read, because sys.stdin keeps a lock while it waits, and the interpreter cannot exit without that lock.
        with contextlib.suppress(RuntimeError):  # the loop is closed: no task wants the rest
            while read_ahead.acquire() and (chunk := os.read(sys.stdin.fileno(), CHUNK)):
                loop.call_soon_threadsafe(chunks.put_nowait, chunk)
            loop.call_soon_threadsafe(chunks.put_nowait, b"")

    threading.Thread(target=read, daemon=True).start()
    rest = b""
    while chunk := await chunks.get():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        read_ahead.release()
    if rest:
        yield rest


def report(event: str) -> None:
    """Say what happened to the connection, where it does not mix with messages."""
    print(event, file=sys.stderr, flush=True)


def escape(text: str) -> str:
    """Show control characters instead of letting them control the terminal."""
    return UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def summary(data: bytes) -> str:
    """Show how many bytes there are, and the first of them."""
    more = " ..." if len(data) > BINARY_SHOWN else ""
    return f"binary, {len(data)} bytes: {data[:BINARY_SHOWN].hex(' ')}{more}"


def check_url(url: str) -> None:
    """Refuse what is no WebSocket URL before anything else happens."""
    try:
        parse_uri(url)
    except InvalidURI as error:
        raise click.BadParameter(str(error), param_hint="URL") from error


def split_header(header: str) -> tuple[str, str]:
    """Split ``Name: value``."""
    name, colon, value = header.partition(":")
    if not colon:
        raise click.BadParameter(f"{header!r} has no colon; write it as 'Name: value'", param_hint="--header")
    return name.strip(), value.strip()


def tls_options(url: str, insecure: bool) -> dict[str, Any]:
    """Trust the authorities that the system trusts, or any certificate."""
    if not insecure:
        return {}
    if not url.lower().startswith("wss://"):
        raise click.UsageError("--insecure is about certificates, and only wss:// has them.")
    context = tls.create_default_context()
    context.check_hostname = False
    context.verify_mode = tls.CERT_NONE
    return {"ssl": context}
