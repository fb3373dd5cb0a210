"""trunkline on trio."""

import trunkline.trio.server
from benchmarks.servers import trio_api

trio_api.main(trunkline.trio.server)
