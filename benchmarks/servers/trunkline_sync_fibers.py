"""trunkline with handlers that share 64 threads."""

import trunkline.sync.server
from benchmarks.servers import sync_api

sync_api.main(trunkline.sync.server, threads=64)
