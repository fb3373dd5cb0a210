import asyncio
import socket
from collections.abc import Callable
from typing import Any

from trunkline.endpoint.line import Line

class Listener:
    @property
    def sockets(self) -> Any: ...
    def close(self) -> None: ...
    def is_serving(self) -> bool: ...
    async def start_serving(self) -> None: ...

async def listen(
    create: Callable[..., Any],
    line: Line,
    factory: Callable[[], Any],
    *,
    start_serving: bool = True,
    backlog: int = 100,
    **kwargs: Any,
) -> Listener: ...
async def connect(
    loop: asyncio.AbstractEventLoop, line: Line, factory: Callable[[], Any], unix: bool, **kwargs: Any
) -> Any: ...
def adopt(loop: asyncio.AbstractEventLoop, line: Line, protocol: Any, sock: socket.socket) -> None: ...
