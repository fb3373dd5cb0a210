"""python-socketio on aiohttp."""

from aiohttp import web

from benchmarks.servers import harness, socketio_room


async def start(options: harness.Options) -> object:
    server = socketio_room.create("aiohttp")
    application = web.Application()
    server.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.SockSite(runner, options.sock, ssl_context=options.tls).start()
    return runner


harness.main(start)
