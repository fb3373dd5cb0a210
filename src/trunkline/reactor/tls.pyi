import asyncio
import ssl as ssl_module
from collections.abc import Callable
from typing import Any

from trunkline.endpoint.line import Line
from trunkline.reactor.sockets import Listener

async def listen(
    create: Callable[..., Any],
    line: Line,
    factory: Callable[[], Any],
    *,
    ssl: ssl_module.SSLContext,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    **kwargs: Any,
) -> Listener: ...
async def connect(
    loop: asyncio.AbstractEventLoop,
    line: Line,
    factory: Callable[[], Any],
    unix: bool,
    *,
    ssl: ssl_module.SSLContext | bool,
    server_hostname: str | None = None,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
    **kwargs: Any,
) -> Any: ...
