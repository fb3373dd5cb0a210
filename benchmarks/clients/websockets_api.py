"""The client for the peers that share the API of websockets."""

from types import ModuleType

from benchmarks.clients import harness


def main(library: ModuleType) -> None:
    async def connect(uri: str) -> tuple[harness.Send, harness.Receive]:
        connection = await library.connect(uri, compression=None, proxy=None)
        return connection.send, connection.recv

    harness.main(connect)
