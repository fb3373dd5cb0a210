"""The peer for the libraries that share the API of websockets."""

import contextlib
import socket
from types import ModuleType
from typing import Any

from compliance.peers import harness

# Group 9 sends messages of 16 MiB; a keepalive ping is an event that no case expects.
OPTIONS = {"max_size": None, "ping_interval": None}


def offers(factory: Any) -> list[Any]:
    """Compression as it is offered by default, and then with all that a server may ask for, as those of group 13 do.

    `factory` is `ClientPerMessageDeflateFactory`.
    """
    return [factory(client_max_window_bits=True), factory(client_max_window_bits=True, client_no_context_takeover=True)]


def main(
    library: ModuleType,
    extensions: list[Any] | None = None,
    serve: harness.Serve | None = None,
    **only_its_own: Any,
) -> None:
    """Run the peer.

    Args:
        library: what to test.
        extensions: that the client offers, None for those by default.
        serve: another server than that of the library.
        only_its_own: options of `serve` and `connect` that other libraries do not have.
    """
    options = OPTIONS | only_its_own
    client_options = options if extensions is None else options | {"extensions": extensions}

    async def echo_messages(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def serve_here(sock: socket.socket) -> object:
        return await library.serve(echo_messages, sock=sock, **options)

    async def receive(url: str) -> str:
        async with library.connect(url, **client_options) as connection:
            return str(await connection.recv())

    async def echo(url: str) -> None:
        # The fuzzing server judges which side closed the connection, and how.
        async with library.connect(url, **client_options) as connection:
            with contextlib.suppress(library.ConnectionClosed):
                await echo_messages(connection)

    harness.main(serve or serve_here, receive, echo)
