"""Rooms of trunkline inside of an application of FastAPI, below uvicorn with the class of trunkline."""

from fastapi import FastAPI

from benchmarks.servers import asgi_apps
from trunkline.realtime import Limits, Realtime, Timeouts


def rooms(mode: str) -> FastAPI:
    rt = Realtime(limits=Limits(rate=None), timeouts=Timeouts(ping=None))  # the load generators answer no pings
    rt.channel("room", publish="subscribers")
    app = FastAPI()
    rt.asgi(origins="*").mount(app, "/")
    return app


asgi_apps.main(rooms, "trunkline.uvicorn:WebSocketProtocol")
