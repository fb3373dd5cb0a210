"""The server for the peers that share the API of websockets; the tutorial's chat room is the fan-out."""

import asyncio
from types import ModuleType
from typing import Any

from benchmarks.servers import harness


def main(library: ModuleType) -> None:
    clients: set[Any] = set()

    async def echo(connection: Any) -> None:
        async for message in connection:
            await connection.send(message)

    async def gather(connection: Any) -> None:
        clients.add(connection)
        try:
            async for message in connection:
                await asyncio.gather(*(client.send(message) for client in clients))
        finally:
            clients.remove(connection)

    async def broadcast(connection: Any) -> None:
        clients.add(connection)
        try:
            async for message in connection:
                library.broadcast(clients, message)
        finally:
            clients.remove(connection)

    async def start(options: harness.Options) -> object:
        handler = {"echo": echo, "gather": gather, "broadcast": broadcast}[options.mode]
        limits = {"compression": "deflate" if options.deflate else None, "max_size": harness.MAX_SIZE}
        engine = {"engine": "transports"} if options.transports else {}
        return await library.serve(handler, sock=options.sock, ssl=options.tls, **limits, **engine)

    harness.main(start)
