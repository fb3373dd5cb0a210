"""``trunkline chat``: a chat room for browsers and for any WebSocket client."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ssl
from functools import partial
from pathlib import Path
from urllib.parse import quote

import click

from trunkline.asyncio.server import Server
from trunkline.chat.rooms import Limits
from trunkline.chat.server import ChatServer, run
from trunkline.realtime import BrokerError

__all__ = ["chat"]

ANY_ADDRESS = ("0.0.0.0", "::")

file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8765, show_default=True, type=click.IntRange(0, 65535), help="0 for any free port.")
@click.option("--cert", type=file, help="TLS certificate chain, PEM. With it the page is at https://.")
@click.option("--key", type=file, help="TLS private key, PEM, where it is not in the file of --cert.")
@click.option("--origin", "origins", multiple=True, metavar="ORIGIN",
              help="Let pages from this origin connect too, such as https://example.com. Repeatable. Our own page, and "
                   "clients that are no web pages, may always connect.")  # fmt: skip
@click.option("--max-size", default=Limits.max_size, show_default=True, type=click.IntRange(min=1),
              help="Bytes in one message.")  # fmt: skip
@click.option("--rate", default=Limits.rate, show_default=True, type=click.FloatRange(min=0, min_open=True),
              help="Messages per second from one client; more are refused, and the client is told.")  # fmt: skip
@click.option("--store", type=click.Path(dir_okay=False, path_type=Path), metavar="PATH",
              help="Keep what is said in this SQLite file, over restarts. Without it, a room is forgotten a minute "
                   "after the last one has left.")  # fmt: skip
def chat(
    host: str,
    port: int,
    cert: Path | None,
    key: Path | None,
    origins: tuple[str, ...],
    max_size: int,
    rate: float,
    store: Path | None,
) -> None:
    """Open a chat room: the page at /, and the same port for WebSocket clients.

    Paths /rooms/NAME are further rooms. Ctrl-C closes the room.
    """
    if key and not cert:
        raise click.UsageError("--key needs --cert: a private key is of no use without its certificate.")
    url = f"sqlite:///{quote(str(store))}" if store else "memory://"
    room = ChatServer(Limits(max_size=max_size, rate=rate), origins, url)
    tls = load_tls(cert, key) if cert else None
    on_open = partial(announce, host=host, tls=tls is not None)
    try:
        with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C where asyncio has no signals
            asyncio.run(run(room, host, port, ssl=tls, on_open=on_open))
    except OSError as error:
        raise click.ClickException(cannot_listen(error, host, port)) from error
    except BrokerError as error:
        raise click.ClickException(f"cannot use --store {store}: {error}") from error


def load_tls(cert: Path, key: Path | None) -> ssl.SSLContext:
    """Load the certificate, or say which file is wrong."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise click.ClickException(f"cannot use --cert {cert} with --key {key or cert}: {error}") from error
    return context


def announce(server: Server, *, host: str, tls: bool) -> None:
    """Print where the room is."""
    port = server.sockets[0].getsockname()[1]
    shown = "localhost" if host in (*ANY_ADDRESS, "127.0.0.1", "::1") else f"[{host}]" if ":" in host else host
    secure = "s" if tls else ""
    click.echo("The chat room is open.")
    click.echo(f"  Page       http{secure}://{shown}:{port}/")
    click.echo(f"  WebSocket  ws{secure}://{shown}:{port}/")
    if host in ANY_ADDRESS:
        click.echo(f"Other machines reach it by the name or address of this one, at port {port}.")
    click.echo("Press Ctrl-C to close it.")


def cannot_listen(error: OSError, host: str, port: int) -> str:
    """Say why there is no server, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is in use; stop what uses it, or choose another port with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs privileges that this process does not have; choose one above 1023 with --port"
    return f"cannot listen on --host {host} --port {port}: {error.strerror or error}"
