"""What is measured, as a table, and the bars that trunkline has to clear."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from benchmarks.peers import AIOHTTP, COMPATIBLE, FLOOR_PEER, PICOWS, TRUNKLINE, Peer, selected

Metric = Literal["cpu", "rss"]
TEXT, BINARY = 1, 2
EVERYONE = (FLOOR_PEER, *TRUNKLINE, *PICOWS, *COMPATIBLE, *AIOHTTP)


@dataclass(frozen=True)
class Workload:
    """One row: a load, and what it costs per message, delivery or connection."""

    name: str
    group: str
    """The table and the plot where the row stands."""
    title: str
    peers: tuple[Peer, ...]
    generator: str
    """A program of `benchmarks/load`, or `client`: then the peer is the client, of the floor server."""
    arguments: tuple[str, ...] = ()
    """What the generator is told after the port; for `client`, the number of messages in flight."""
    mode: str = "echo"
    """What the server does."""
    tls: bool = False
    metric: Metric = "cpu"
    """CPU time, or growth of resident memory."""
    warm_up: float = 0.5
    """Amount of the run that is not counted."""
    amount: float | None = None
    """Connections to open; None for as many seconds as the session asks for."""
    counts: str = "message"
    """What the cost is divided by."""
    headline: bool = True
    """Measured unless the session asks for all rows or for others."""


@dataclass(frozen=True)
class Bar:
    """What trunkline may cost: at most `limit` times the peer, or `limit` itself if there is no peer."""

    workload: str
    peer: Peer | None
    limit: float


def echo(
    connections: int, depth: int, size: int, opcode: int = BINARY, *, tls: bool = False, headline: bool = True
) -> Workload:
    size_name = f"{size >> 20}m" if size >= 2**20 else f"{size >> 10}k" if size >= 2**10 else str(size)
    human_size = f"{size >> 20} MiB" if size >= 2**20 else f"{size >> 10} KiB" if size >= 2**10 else f"{size} B"
    kind = "text" if opcode == TEXT else "binary"
    return Workload(
        name=f"{'tls-' * tls}echo-{connections}x{depth}-{size_name}{'-text' * (opcode == TEXT)}",
        group="TLS echo" if tls else "Echo",
        title=f"{connections} x {depth}, {human_size} {kind}",
        peers=tuple(peer for peer in EVERYONE if not tls or peer is not FLOOR_PEER),
        generator="echo",
        arguments=(str(connections), str(depth), str(size), str(opcode), "tls" if tls else "tcp"),
        tls=tls,
        headline=headline,
    )


def fanout(mode: str, peers: tuple[Peer, ...]) -> Workload:
    how = "asyncio.gather(*(c.send(m) for c in clients))" if mode == "gather" else "broadcast(clients, m)"
    return Workload(
        name=f"fanout-1000-{mode}",
        group="Fan-out",
        title=f"1,000 clients, 100 B, `{how}`",
        peers=peers,
        generator="fanout",
        arguments=("1000", "100"),
        mode=mode,
        counts="delivery",
    )


def client(depth: int) -> Workload:
    return Workload(
        name=f"client-{depth}",
        group="Client",
        title=f"1 x {depth}, 32 B binary",
        peers=(FLOOR_PEER, *TRUNKLINE, *COMPATIBLE, *AIOHTTP),
        generator="client",
        arguments=(str(depth),),
    )


SHAPES = ((1, 1), (64, 1), (16, 16), (16, 1), (4, 1))
SIZES = (32, 2**10, 16 * 2**10, 2**20)
HEADLINE_ECHOES = {
    *((1, 1, 32, BINARY), (64, 1, 32, BINARY), (64, 1, 32, TEXT), (16, 16, 32, BINARY), (16, 16, 32, TEXT)),
    *((64, 1, 2**10, BINARY), (16, 1, 16 * 2**10, BINARY), (16, 1, 16 * 2**10, TEXT)),
    *((4, 1, 2**20, BINARY), (4, 1, 2**20, TEXT)),
}

WORKLOADS = (
    *(
        echo(*shape, size, opcode, headline=(*shape, size, opcode) in HEADLINE_ECHOES)
        for size in SIZES
        for shape in SHAPES
        for opcode in (BINARY, TEXT)
    ),
    echo(64, 1, 32, tls=True),
    fanout("broadcast", (*TRUNKLINE, *PICOWS, *COMPATIBLE)),
    fanout("gather", (*TRUNKLINE, *COMPATIBLE, *AIOHTTP)),
    Workload(
        name="connect",
        group="Connection set-up",
        title="TCP, opening handshake, one 32 B echo, closing handshake; 16 at a time",
        peers=EVERYONE,
        generator="connect",
        arguments=("16", "32"),
        counts="connection",
    ),
    Workload(
        name="idle-10000",
        group="Memory",
        title="10,000 idle connections, after one 32 B message each",
        peers=tuple(peer for peer in EVERYONE if peer is not FLOOR_PEER),
        generator="idle",
        arguments=("32",),
        metric="rss",
        counts="connection",
        warm_up=100,
        amount=10_000,
    ),
    client(1),
    client(16),
)

PICOWS_UVLOOP = Peer("picows", "uvloop")
PICOWS_WEBSOCKETS = Peer("picows.websockets", "uvloop")
WEBSOCKETS = Peer("websockets", "uvloop")

BARS = (
    Bar("echo-64x1-32", FLOOR_PEER, 1.5),
    Bar("echo-64x1-32", PICOWS_UVLOOP, 0.87),
    Bar("echo-64x1-32", WEBSOCKETS, 0.28),
    Bar("echo-16x16-32", FLOOR_PEER, 3),
    Bar("echo-16x16-32", PICOWS_UVLOOP, 0.2),
    Bar("echo-16x16-32", WEBSOCKETS, 0.04),
    Bar("echo-16x1-16k", FLOOR_PEER, 1.6),
    Bar("echo-16x1-16k", PICOWS_UVLOOP, 0.9),
    Bar("echo-16x1-16k", WEBSOCKETS, 0.37),
    Bar("echo-4x1-1m", FLOOR_PEER, 1.3),
    Bar("echo-4x1-1m", WEBSOCKETS, 0.65),
    Bar("fanout-1000-broadcast", WEBSOCKETS, 0.32),
    Bar("fanout-1000-broadcast", PICOWS_WEBSOCKETS, 0.6),
    Bar("fanout-1000-gather", WEBSOCKETS, 0.25),
    Bar("fanout-1000-gather", PICOWS_WEBSOCKETS, 0.45),
    Bar("connect", WEBSOCKETS, 0.35),
    Bar("tls-echo-64x1-32", WEBSOCKETS, 0.4),
    Bar("tls-echo-64x1-32", PICOWS_WEBSOCKETS, 0.9),
    Bar("idle-10000", None, 4096),
    Bar("client-1", PICOWS_WEBSOCKETS, 0.8),
    Bar("client-16", PICOWS_WEBSOCKETS, 0.3),
)


def choose(patterns: list[str] | None, every: bool = False) -> list[Workload]:
    """The workloads whose names match one of `patterns` (shell wildcards); the headline ones if there are none.

    Raises:
        ValueError: a pattern matches nothing.
    """
    if patterns is None:
        return [workload for workload in WORKLOADS if every or workload.headline]
    for pattern in patterns:
        if not any(fnmatchcase(workload.name, pattern) for workload in WORKLOADS):
            raise ValueError(f"no workload is named {pattern!r}; `python -m benchmarks --list` shows their names")
    return [w for w in WORKLOADS if any(fnmatchcase(w.name, pattern) for pattern in patterns)]


def check_peers(names: list[str] | None) -> None:
    """Make sure that each name is the library or the label of somebody.

    Raises:
        ValueError: a name is nobody's.
    """
    for name in names or []:
        if not any(selected(peer, [name]) for peer in EVERYONE):
            raise ValueError(f"no peer is named {name!r}; there are {', '.join(peer.label for peer in EVERYONE)}")
