"""trunkline with threads."""

import trunkline.sync.client
from benchmarks.clients import sync_api

sync_api.main(trunkline.sync.client)
