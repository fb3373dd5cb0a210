"""trunkline."""

import trunkline
from benchmarks.clients import websockets_api

websockets_api.main(trunkline)
