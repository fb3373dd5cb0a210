"""A plain ASGI application, with the class of trunkline."""

from benchmarks.servers import asgi_apps

asgi_apps.main(framework=False, ws="trunkline.uvicorn:WebSocketProtocol")
