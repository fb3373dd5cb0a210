import asyncio
from collections.abc import Callable
from typing import Any

from trunkline.asyncio.connection import Connection
from trunkline.asyncio.engine import Listener

async def listen(
    create: Callable[..., Any],
    factory: Callable[[], Connection],
    *,
    start_serving: bool = True,
    backlog: int = 100,
    **kwargs: Any,
) -> Listener: ...
async def connect(
    loop: asyncio.AbstractEventLoop, factory: Callable[[], Connection], unix: bool, **kwargs: Any
) -> Connection: ...
