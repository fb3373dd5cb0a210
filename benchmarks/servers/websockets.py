"""websockets, its asyncio API."""

import websockets

from benchmarks.servers import websockets_api

websockets_api.main(websockets)
