"""trunkline."""

import trunkline
from benchmarks.servers import websockets_api

websockets_api.main(trunkline)
