"""trunkline.realtime: rooms in the Centrifuge protocol."""

from benchmarks.servers import harness
from trunkline.realtime import Limits, Realtime, Timeouts


async def start(options: harness.Options) -> object:
    rt = Realtime(limits=Limits(rate=None), timeouts=Timeouts(ping=None))  # the load generators answer no pings
    rt.channel("room", publish="subscribers")
    compression = "deflate" if options.deflate else None
    return await rt.serve(sock=options.sock, ssl=options.tls, compression=compression, max_size=harness.MAX_SIZE)


harness.main(start)
