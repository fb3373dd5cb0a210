"""The server for the peers that share the API of websockets.sync. Their threads live beside the loop of `harness`."""

import threading
from types import ModuleType
from typing import Any

from benchmarks.servers import harness


def main(library: ModuleType, **only_its_own: Any) -> None:
    def echo(connection: Any) -> None:
        for message in connection:
            connection.send(message)

    async def start(options: harness.Options) -> object:
        compression = "deflate" if options.deflate else None
        server = library.serve(
            echo,
            sock=options.sock,
            ssl=options.tls,
            compression=compression,
            max_size=harness.MAX_SIZE,
            **only_its_own,
        )
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    harness.main(start)
