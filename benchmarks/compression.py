"""Measure the cost of compression, in time and in bytes: the tables of docs/explanation/compression.md.

    python -m benchmarks.compression

Times are µs of CPU for one message, the least of several rounds; in parentheses stands how much is sent. Messages
differ from one another as those of an application do. zlib-ng is measured, too, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import random
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from trunkline.core import deflate
from trunkline.core.deflate import HISTORY, LEVEL, Deflater, Inflater
from trunkline.core.writer import PreparedMessage

BITS = 12
MEMORY = 5
COUNT = 64
CONNECTIONS = 1000
SYNC_SIZE = 4
VOCABULARY = """
    the of and to in is you that it he was for on are as with his they at be this have from or one had by word but
    not what all were we when your can said there use an each which she do how their if will up other about out many
    then them these so some her would make like him into time has look two more write go see number no way could people
"""
WORDS = VOCABULARY.split()
LIBRARIES = {"zlib": LEVEL, "zlib_ng.zlib_ng": LEVEL, "isal.isal_zlib": deflate.ISAL_LEVEL}

Make = Callable[[int, int], bytes]


def words(number: int, size: int) -> bytes:
    choose = random.Random(number)
    text = " ".join(choose.choices(WORDS, weights=range(len(WORDS), 0, -1), k=size // 2))
    return text[:size].encode()


def trade(number: int, size: int) -> bytes:
    choose = random.Random(number)
    items = [
        f'{{"id":"{choose.getrandbits(32):08x}","kind":"{choose.choice(WORDS)}","place":"{choose.choice(WORDS)}",'
        f'"price":{choose.randrange(4096)}.{choose.randrange(100):02}}}'
        for _ in range(size // 50 + 1)
    ]
    return f'{{"type":"trade","sequence":{100_000 + number},"items":[{",".join(items)}'[:size].encode()


def chat(number: int, size: int) -> bytes:
    choose = random.Random(number)
    head = (
        f'{{"type":"message","room":"lobby","from":"{choose.choice(WORDS)}","at":{1_700_000_000 + 17 * number},"text":"'
    )
    return (head + words(number, size).decode())[: size - 2].encode() + b'"}'


def bank(make: Make, size: int) -> list[bytes]:
    count = COUNT if size < 10_000 else 4
    return [make(number, size) for number in range(count)]


MESSAGES = {
    "400 bytes of JSON": bank(trade, 400),
    "2 KiB of text": bank(words, 2048),
    "64 KiB of text": bank(words, 1 << 16),
}


def cost(action: Callable[[bytes], object], messages: Sequence[bytes], seconds: float) -> float:
    """µs of CPU for one message, the least of the rounds that fit into `seconds`, of which there are at least three."""
    least = float("inf")
    end = time.monotonic() + seconds
    for round_ in itertools.count():
        if round_ >= 3 and time.monotonic() > end:
            break
        started = time.process_time()
        for message in messages:
            action(message)
        least = min(least, (time.process_time() - started) / len(messages))
    return least * 1e6


def row(name: str, *cells: str) -> None:
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def heading(*names: str) -> None:
    print()
    row(names[0], *names[1:])
    row("---", *("---" for _ in names[1:]))


def compare_libraries(seconds: float) -> None:
    """Behind a history, as a connection that keeps one has it; and a compressor that stays alive, as zlib's do."""
    libraries = installed()
    heading("", "zlib, kept", *libraries)
    for name, messages in MESSAGES.items():
        history = b"".join(messages)[-HISTORY:]
        kept = zlib.compressobj(LEVEL, zlib.DEFLATED, -BITS, MEMORY)
        makers = [lambda kept=kept: kept]
        makers += [partial(new_compressor, *library, history) for library in libraries.values()]
        row(f"compress {name}", *(compressing(make, messages, seconds) for make in makers))
        compressed = alone(messages)
        decompressors = [partial(decompress, library, history) for library, _ in libraries.values()]
        row(f"decompress {name}", "", *(f"{cost(action, compressed, seconds):.1f}" for action in decompressors))


def installed() -> dict[str, tuple[Any, int]]:
    """Modules with the interface of zlib, and the level at which they work."""
    libraries = {}
    for name, level in LIBRARIES.items():
        with suppress(ImportError):
            libraries[name.partition(".")[0].replace("_", "-")] = importlib.import_module(name), level
    return libraries


def new_compressor(library: Any, level: int, history: bytes) -> Any:
    return library.compressobj(level, zlib.DEFLATED, -BITS, MEMORY, zlib.Z_DEFAULT_STRATEGY, history)


def decompress(library: Any, history: bytes, data: bytes) -> object:
    return library.decompressobj(-BITS, history).decompress(data)


def compressing(compressor: Callable[[], Any], messages: Sequence[bytes], seconds: float) -> str:
    def compress(message: bytes) -> bytes:
        stream = compressor()
        data: bytes = stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH)
        return data

    size = sum(len(compress(message)) - SYNC_SIZE for message in messages)
    return f"{cost(compress, messages, seconds):.1f} ({size / sum(map(len, messages)):.0%})"


def alone(messages: Sequence[bytes]) -> list[bytes]:
    """Each of them compressed without reference to another."""
    compressed = (Deflater(BITS, False, {"level": 6}).message(message) for message in messages)
    return [data for data in compressed if data is not None]


def compare_histories(seconds: float) -> None:
    """How much of what was sent before a new compressor is told."""
    libraries = installed()
    heading("history", *libraries)
    messages = MESSAGES["400 bytes of JSON"]
    for size in (0, HISTORY // 4, HISTORY // 2, HISTORY, 2 * HISTORY):
        history = b"".join(messages)[-size:] if size else b""
        makers = [partial(new_compressor, *library, history) for library in libraries.values()]
        row(str(size), *(compressing(make, messages, seconds) for make in makers))


def compare_levels(seconds: float) -> None:
    heading("message", "level 3", "level 6")
    for name, messages in {
        "400 bytes of JSON": bank(trade, 400),
        "300 bytes of chat": bank(chat, 300),
        "1.5 KiB of chat": bank(chat, 1536),
        "4 KiB of JSON": bank(trade, 4096),
    }.items():
        cells = []
        for level in (3, 6):
            deflater = Deflater(BITS, True, {"level": level, "memLevel": MEMORY})
            size = average(deflater.message(message) for message in messages)
            cells.append(f"{cost(deflater.message, messages, seconds):.1f} ({size:.0f})")
        row(name, *cells)


def average(compressed: Iterable[bytes | None]) -> float:
    sizes = [len(data) for data in compressed if data is not None]
    return sum(sizes) / len(sizes)


def compare_sizes(seconds: float) -> None:
    heading("size", "with takeover", "without", "µs to compress and decompress")
    for size in (64, 128, 256, 512):
        messages = bank(chat, size)
        cells = []
        for takeover in (True, False):
            deflater = Deflater(BITS, takeover, {"memLevel": MEMORY})
            cells.append(f"{average(deflater.message(message) for message in messages):.0f}")
        deflater, inflater = Deflater(BITS, True, {"memLevel": MEMORY}), Inflater(BITS, True)

        def there_and_back(message: bytes, deflater: Deflater = deflater, inflater: Inflater = inflater) -> None:
            data = deflater.message(message)
            assert data is None or inflater.inflate(data) == message

        row(str(size), *cells, f"{cost(there_and_back, messages, seconds):.1f}")


def compare_fanout(seconds: float) -> None:
    """One message for many connections, µs for each of them, without the cost of the socket."""
    heading("", "compressed once", "each compressed for itself")
    deflaters = [Deflater(BITS, True, {"memLevel": MEMORY}) for _ in range(CONNECTIONS)]

    def broadcast(message: bytes) -> None:
        prepared = PreparedMessage(message)
        for deflater in deflaters:
            prepared.deflated(deflater)

    for name, messages in MESSAGES.items():
        once, each = cost(broadcast, messages, seconds) / CONNECTIONS, cost(deflaters[0].message, messages, seconds)
        row(name, f"{once:.2f}", f"{each:.1f}")


def main(seconds: float) -> None:
    print(__doc__)
    for table in (compare_libraries, compare_histories, compare_levels, compare_sizes, compare_fanout):
        table(seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compression", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.3, help="for each figure (default: 0.3)")
    main(parser.parse_args().seconds)
