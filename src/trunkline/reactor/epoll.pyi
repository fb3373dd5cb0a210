import asyncio
import socket
from collections.abc import Callable
from typing import Any

from trunkline.asyncio.engine import Listener
from trunkline.asyncio.link import Link

async def listen(
    create: Callable[..., Any],
    factory: Callable[[], Link],
    *,
    start_serving: bool = True,
    backlog: int = 100,
    **kwargs: Any,
) -> Listener: ...
async def connect(loop: asyncio.AbstractEventLoop, factory: Callable[[], Link], unix: bool, **kwargs: Any) -> Link: ...
def adopt(connection: Link, sock: socket.socket) -> None: ...
