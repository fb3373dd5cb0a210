import asyncio
import ssl as ssl_module
from collections.abc import Callable
from typing import Any

from trunkline.asyncio.engine import Listener
from trunkline.asyncio.link import Link

async def listen(
    create: Callable[..., Any],
    factory: Callable[[], Link],
    *,
    ssl: ssl_module.SSLContext,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    **kwargs: Any,
) -> Listener: ...
async def connect(
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], Link],
    unix: bool,
    *,
    ssl: ssl_module.SSLContext | bool,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    **kwargs: Any,
) -> Link: ...
