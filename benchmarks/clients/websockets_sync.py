"""websockets, its API for threads."""

import websockets.sync.client

from benchmarks.clients import sync_api

sync_api.main(websockets.sync.client)
