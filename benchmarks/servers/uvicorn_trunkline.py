"""A plain ASGI application, with the class of trunkline."""

from benchmarks.servers import asgi_apps

asgi_apps.main(asgi_apps.plain, "trunkline.uvicorn:WebSocketProtocol")
