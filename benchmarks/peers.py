"""Who is measured: libraries, each on the event loops where that matters."""

import sys
from dataclasses import dataclass
from typing import Literal

from benchmarks.build import ECHO, FLOOR, ROOT


@dataclass(frozen=True)
class Peer:
    """A library on an event loop."""

    library: str
    loop: str
    """`asyncio`, `uvloop`, `aiofastnet` (asyncio with the transports of that package), `trio`,
    `threads`, or `epoll` for C."""
    variant: Literal["", "interpreted", "transports"] = ""
    """trunkline without its extension modules, or without its own transports."""

    @property
    def label(self) -> str:
        return f"{self.library}{f' ({self.variant})' if self.variant else ''}/{self.loop}"

    @property
    def environment(self) -> dict[str, str]:
        """Variables that its process needs. The sources have no extension modules beside them."""
        return {"PYTHONPATH": str(ROOT / "src")} if self.variant == "interpreted" else {}

    @property
    def dialect(self) -> str:
        """The protocol with rooms that it speaks, as the load generators name it."""
        if self.library.endswith(".realtime"):
            return "centrifuge"
        return "socketio" if "socketio" in self.library else ""

    def server_command(self, mode: str, *, tls: str | None = None, deflate: bool = False) -> list[str]:
        if self.loop == "epoll":
            return [str(FLOOR), mode]
        if mode == "rooms" and not self.dialect:
            mode = "broadcast"
        command = [sys.executable, "-m", f"benchmarks.servers.{self._module}", mode, "--loop", self.loop]
        options = (["--tls", tls] if tls else []) + ["--deflate"] * deflate
        return command + options + ["--transports"] * (self.variant == "transports")

    def client_command(self, port: int, depth: int) -> list[str]:
        if self.loop == "epoll":
            return [str(ECHO), str(port), "1", str(depth), "32", "2"]
        options = [str(port), "--depth", str(depth), "--loop", self.loop]
        return [sys.executable, "-m", f"benchmarks.clients.{self._module}", *options]

    @property
    def _module(self) -> str:
        return self.library.replace(".", "_")


def on(loops: tuple[str, ...], *libraries: str) -> tuple[Peer, ...]:
    return tuple(Peer(library, loop) for library in libraries for loop in loops)


BOTH = ("asyncio", "uvloop")
FLOOR_PEER = Peer("floor", "epoll")
TRUNKLINE = on(BOTH, "trunkline")
INTERPRETED = tuple(Peer("trunkline", loop, variant="interpreted") for loop in BOTH)
TRANSPORTS = tuple(Peer("trunkline", loop, variant="transports") for loop in (*BOTH, "aiofastnet"))
COMPATIBLE = on(BOTH, "picows.websockets", "websockets")
"""Those with the API of websockets, besides trunkline."""
PICOWS = on(BOTH, "picows")
AIOHTTP = on(BOTH, "aiohttp")
THREADS = on(("threads",), "trunkline.sync", "websockets.sync")
FIBERS = on(("threads",), "trunkline.sync.fibers")
TRIO = on(("trio",), "trunkline.trio", "websockets.trio")
REALTIME = on(BOTH, "trunkline.realtime")
ASGI = on(BOTH, "uvicorn.trunkline", "uvicorn")
"""Plain ASGI applications below uvicorn, with the class of trunkline and with its own."""
FASTAPI = on(BOTH, "fastapi.trunkline", "fastapi")
FASTAPI_ROOMS = on(BOTH, "fastapi.realtime")
SOCKETIO = on(BOTH, "socketio.aiohttp", "socketio.uvicorn")


def selected(peer: Peer, names: list[str] | None) -> bool:
    """True if `names` has the peer's library (`picows`) or its label (`picows/uvloop`), or there are no names."""
    return names is None or peer.library in names or peer.label in names
