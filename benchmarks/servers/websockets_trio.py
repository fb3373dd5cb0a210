"""websockets on trio."""

import websockets.trio.server

from benchmarks.servers import trio_api

trio_api.main(websockets.trio.server)
