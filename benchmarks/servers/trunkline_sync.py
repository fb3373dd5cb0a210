"""trunkline with threads."""

import trunkline.sync.server
from benchmarks.servers import sync_api

sync_api.main(trunkline.sync.server)
