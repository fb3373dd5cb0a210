"""websockets, its asyncio API."""

import websockets

from benchmarks.clients import websockets_api

websockets_api.main(websockets)
