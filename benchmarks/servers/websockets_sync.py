"""websockets, its API for threads."""

import websockets.sync.server

from benchmarks.servers import sync_api

sync_api.main(websockets.sync.server)
