"""The rows that are measured, as a table, and the bars that trunkline has to clear."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

from benchmarks.peers import (
    AIOHTTP,
    ASGI,
    BOTH,
    COMPATIBLE,
    FASTAPI,
    FASTAPI_ROOMS,
    FIBERS,
    FLOOR_PEER,
    INTERPRETED,
    PICOWS,
    REALTIME,
    SOCKETIO,
    THREADS,
    TRANSPORTS,
    TRIO,
    TRUNKLINE,
    Peer,
    on,
    selected,
)

Metric = Literal["cpu", "rss"]
TEXT, BINARY = 1, 2
LIBRARIES = (*TRUNKLINE, *COMPATIBLE, *AIOHTTP)
EVERYONE = (FLOOR_PEER, *PICOWS, *LIBRARIES)
NEAREST = (FLOOR_PEER, *TRUNKLINE, *on(("uvloop",), "picows", "picows.websockets"), *on(BOTH, "websockets"))
"""Those who say most, for rows that resemble others."""
TLS = (*PICOWS, *LIBRARIES, *TRANSPORTS)


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
    """What the server does. `rooms`: publish in a room, in a protocol that has them; who speaks none broadcasts."""
    tls: bool = False
    deflate: bool = False
    """permessage-deflate, with messages of JSON."""
    metric: Metric = "cpu"
    """CPU time, or growth of resident memory."""
    warm_up: float = 0.25
    """Amount of the run that is not counted."""
    amount: float | None = None
    """Connections to open; None for as many seconds as the session asks for."""
    rounds: int | None = None
    """At most so many, where they take long and hardly differ."""
    counts: str = "message"
    """What the cost is divided by."""
    headline: bool = True
    """Measured unless the session asks for all rows or for others."""

    def options(self, peer: Peer) -> tuple[str, ...]:
        """The generator's last words."""
        rooms = (peer.dialect,) if self.mode == "rooms" and peer.dialect else ()
        return ("tls",) * self.tls + ("deflate",) * self.deflate + rooms


@dataclass(frozen=True)
class Bar:
    """The cost that trunkline may have: at most `limit` times the yardstick, or `limit` itself if that is None."""

    workload: str
    yardstick: Peer | str | None
    """A peer in the same workload; or another workload, in which trunkline is compared with itself."""
    limit: float
    subjects: tuple[Peer, ...] = TRUNKLINE


def echo(
    connections: int,
    depth: int,
    size: int,
    opcode: int = BINARY,
    *,
    peers: tuple[Peer, ...],
    tls: bool = False,
    headline: bool = True,
) -> Workload:
    size_name = f"{size >> 20}m" if size >= 2**20 else f"{size >> 10}k" if size >= 2**10 else str(size)
    human_size = f"{size >> 20} MiB" if size >= 2**20 else f"{size >> 10} KiB" if size >= 2**10 else f"{size} B"
    kind = "text" if opcode == TEXT else "binary"
    return Workload(
        name=f"{'tls-' * tls}echo-{connections}x{depth}-{size_name}{'-text' * (opcode == TEXT)}",
        group="TLS" if tls else "Echo",
        title=f"{'TLS, ' * tls}{connections} x {depth}, {human_size} {kind}",
        peers=peers,
        generator="echo",
        arguments=(str(connections), str(depth), str(size), str(opcode)),
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


def idle(
    connections: int, title: str, name: str = "", *, peers: tuple[Peer, ...], size: int = 32, **how: bool
) -> Workload:
    return Workload(
        name=f"idle-{connections}{name}",
        group="Memory",
        title=f"{connections:,} idle connections{title}, after one message each",
        peers=peers,
        generator="idle",
        arguments=(str(size),),
        metric="rss",
        counts="connection",
        warm_up=100,
        amount=connections,
        rounds=1,
        **how,
    )


def client(depth: int) -> Workload:
    return Workload(
        name=f"client-{depth}",
        group="Client",
        title=f"1 x {depth}, 32 B binary",
        peers=(FLOOR_PEER, *LIBRARIES),
        generator="client",
        arguments=(str(depth),),
    )


def trio_echo(connections: int, depth: int) -> Workload:
    return Workload(
        name=f"trio-echo-{connections}x{depth}-32",
        group="Trio",
        title=f"echo on trio, {connections} x {depth}, 32 B binary",
        peers=TRIO,
        generator="echo",
        arguments=(str(connections), str(depth), "32", str(BINARY)),
    )


def asgi(workload: Workload, *more: Peer) -> Workload:
    """The same below uvicorn, beside our own server."""
    peers = (*TRUNKLINE, *more, *FASTAPI)
    return replace(workload, name=f"asgi-{workload.name}", group="ASGI", peers=peers)


SHAPES = ((1, 1), (64, 1), (16, 16), (16, 1), (4, 1))
SIZES = (32, 2**10, 16 * 2**10, 2**20)
MAIN_ECHOES = (
    *((1, 1, 32, BINARY), (64, 1, 32, BINARY), (16, 16, 32, BINARY)),
    *((16, 1, 16 * 2**10, BINARY), (4, 1, 2**20, BINARY)),
)
OTHER_ECHOES = (
    *((64, 1, 32, TEXT), (16, 16, 32, TEXT), (64, 1, 2**10, BINARY)),
    *((16, 1, 16 * 2**10, TEXT), (4, 1, 2**20, TEXT)),
)
JSON_SIZE = 400

WORKLOADS = (
    *(
        echo(
            *(*shape, size, opcode),
            peers=(*EVERYONE, *INTERPRETED) if (*shape, size, opcode) in MAIN_ECHOES else NEAREST,
            headline=(*shape, size, opcode) in (*MAIN_ECHOES, *OTHER_ECHOES),
        )
        for size in SIZES
        for shape in SHAPES
        for opcode in (BINARY, TEXT)
    ),
    echo(64, 1, 32, tls=True, peers=TLS),
    echo(16, 1, 16 * 2**10, tls=True, peers=(*PICOWS, *LIBRARIES)),
    echo(4, 1, 2**20, tls=True, peers=TLS, headline=False),
    fanout("broadcast", (FLOOR_PEER, *TRUNKLINE, *PICOWS, *COMPATIBLE)),
    fanout("gather", LIBRARIES),
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
        name="deflate-echo-64x1",
        group="Compression",
        title=f"echo, 64 x 1, {JSON_SIZE} B of JSON, permessage-deflate",
        peers=LIBRARIES,
        generator="echo",
        arguments=("64", "1", str(JSON_SIZE), str(TEXT)),
        deflate=True,
    ),
    Workload(
        name="deflate-fanout-1000",
        group="Compression",
        title=f"1,000 clients, {JSON_SIZE} B of JSON, `broadcast(clients, m)`, permessage-deflate",
        peers=(*TRUNKLINE, *COMPATIBLE),
        generator="fanout",
        arguments=("1000", str(JSON_SIZE)),
        mode="broadcast",
        deflate=True,
        counts="delivery",
    ),
    Workload(
        name="plain-fanout-1000",
        group="Compression",
        title="the same, not compressed",
        peers=(FLOOR_PEER, *TRUNKLINE, *COMPATIBLE),
        generator="fanout",
        arguments=("1000", str(JSON_SIZE), "json"),
        mode="broadcast",
        counts="delivery",
    ),
    Workload(
        name="rooms-1000",
        group="Rooms",
        title="1,000 clients in a room, 100 B: published by one, delivered to all; `broadcast` for comparison",
        peers=(*REALTIME, *SOCKETIO, *TRUNKLINE),
        generator="fanout",
        arguments=("1000", "100"),
        mode="rooms",
        counts="delivery",
    ),
    Workload(
        name="idle-10000-rooms",
        group="Rooms",
        title="10,000 idle clients in a room",
        peers=(*REALTIME, *SOCKETIO),
        generator="idle",
        arguments=("32",),
        mode="rooms",
        metric="rss",
        counts="connection",
        warm_up=100,
        amount=10_000,
        rounds=1,
    ),
    idle(10_000, "", peers=(*NEAREST[1:], *AIOHTTP)),
    idle(10_000, " with permessage-deflate", "-deflate", peers=LIBRARIES, size=JSON_SIZE, deflate=True),
    idle(1_000, " with TLS", "-tls", peers=TLS, tls=True),
    client(1),
    client(16),
    *(
        replace(workload, name=f"threads-{workload.name}", group="Threads", peers=(FLOOR_PEER, *THREADS))
        for workload in (echo(50, 1, 32, peers=THREADS), client(1))
    ),
    replace(idle(1_000, " of a server with threads", "-threads", peers=(*THREADS, *FIBERS)), group="Threads"),
    trio_echo(64, 1),
    trio_echo(16, 16),
    asgi(echo(64, 1, 32, peers=()), *ASGI),
    asgi(echo(16, 16, 32, peers=()), *ASGI),
    asgi(fanout("broadcast", ())),
    Workload(
        name="asgi-rooms-1000",
        group="ASGI",
        title="1,000 clients in a room, 100 B: published by one, delivered to all",
        peers=(*REALTIME, *FASTAPI_ROOMS),
        generator="fanout",
        arguments=("1000", "100"),
        mode="rooms",
        counts="delivery",
    ),
    asgi(idle(1_000, " with permessage-deflate", "-deflate", peers=(), size=JSON_SIZE, deflate=True), *ASGI),
)

PICOWS_UVLOOP = Peer("picows", "uvloop")
PICOWS_WEBSOCKETS = Peer("picows.websockets", "uvloop")
WEBSOCKETS = Peer("websockets", "uvloop")
TRUNKLINE_SYNC, WEBSOCKETS_SYNC = THREADS
UNCOMPILED_ECHOES = ("echo-64x1-32", "echo-16x16-32", "echo-16x1-16k", "echo-4x1-1m")

ASGI_BARS = (
    # The workload, whose cost, compared with whose, and the limits on asyncio and on uvloop.
    ("asgi-echo-64x1-32", "uvicorn.trunkline", "uvicorn", (0.3, 0.5)),
    ("asgi-echo-16x16-32", "uvicorn.trunkline", "uvicorn", (0.12, 0.12)),
    ("asgi-echo-64x1-32", "fastapi.trunkline", "fastapi", (0.52, 0.52)),
    ("asgi-echo-16x16-32", "fastapi.trunkline", "fastapi", (0.2, 0.2)),
    ("asgi-echo-64x1-32", "uvicorn.trunkline", "trunkline", (1.1, 1.1)),
    ("asgi-echo-16x16-32", "uvicorn.trunkline", "trunkline", (1.6, 1.6)),
    ("asgi-fanout-1000-broadcast", "fastapi.trunkline", "trunkline", (1.25, 1.25)),
    ("asgi-rooms-1000", "fastapi.realtime", "trunkline.realtime", (1.25, 1.25)),
)

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
    Bar("deflate-echo-64x1", WEBSOCKETS, 0.5),
    Bar("deflate-fanout-1000", WEBSOCKETS, 0.15),
    Bar("deflate-fanout-1000", "plain-fanout-1000", 1.3),
    Bar("idle-10000", None, 4096),
    Bar("idle-10000-deflate", None, 8192),
    *(Bar("rooms-1000", Peer("trunkline", subject.loop), 1.3, (subject,)) for subject in REALTIME),
    *(
        Bar("rooms-1000", Peer(library, "uvloop"), 0.1, REALTIME)
        for library in ("socketio.aiohttp", "socketio.uvicorn")
    ),
    Bar("idle-10000-rooms", None, 12288, REALTIME),
    Bar("client-1", PICOWS_WEBSOCKETS, 0.8),
    Bar("client-16", PICOWS_WEBSOCKETS, 0.3),
    *(Bar(name, WEBSOCKETS_SYNC, 0.6, (TRUNKLINE_SYNC,)) for name in ("threads-echo-50x1-32", "threads-client-1")),
    *(Bar(name, TRIO[1], 0.6, TRIO[:1]) for name in ("trio-echo-64x1-32", "trio-echo-16x16-32")),
    *(
        Bar(name, Peer(yardstick, subject.loop), limit, (subject,))
        for name, library, yardstick, limits in ASGI_BARS
        for subject, limit in zip(on(BOTH, library), limits, strict=True)
    ),
    Bar("asgi-idle-1000-deflate", None, 8192, on(BOTH, "uvicorn.trunkline")),
    *(
        Bar(name, Peer("websockets", subject.loop), 1.3, (subject,))
        for name in UNCOMPILED_ECHOES
        for subject in INTERPRETED
    ),
)


def choose(words: list[str], every: bool = False) -> list[Workload]:
    """The workloads that match one of `words`, in the order of the table; the headline ones if there are none.

    Args:
        words: names, names with shell wildcards, or how names begin: `echo` means the headline echoes.
        every: all workloads instead of only the headline ones, where names are not given in full.

    Raises:
        ValueError: a word matches nothing.
    """
    some = [workload for workload in WORKLOADS if every or workload.headline]
    if not words:
        return some
    chosen = {workload.name for word in words for workload in _named(word) or _beginning(word, some)}
    return [workload for workload in WORKLOADS if workload.name in chosen]


def _named(pattern: str) -> list[Workload]:
    return [workload for workload in WORKLOADS if fnmatchcase(workload.name, pattern)]


def _beginning(word: str, workloads: list[Workload]) -> list[Workload]:
    matches = [workload for workload in workloads if workload.name.startswith(f"{word}-")]
    if not matches:
        raise ValueError(f"no workload is named {word!r}; `python -m benchmarks --list` shows their names")
    return matches


def check_peers(names: list[str] | None) -> None:
    """Make sure that each name is the library or the label of a peer.

    Raises:
        ValueError: no peer has that name.
    """
    everyone = list(dict.fromkeys(peer for workload in WORKLOADS for peer in workload.peers))
    for name in names or []:
        if not any(selected(peer, [name]) for peer in everyone):
            raise ValueError(f"no peer is named {name!r}; there are {', '.join(peer.label for peer in everyone)}")
