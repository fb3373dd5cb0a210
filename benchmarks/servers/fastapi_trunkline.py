"""An application of FastAPI, with the class of trunkline."""

from benchmarks.servers import asgi_apps

asgi_apps.main(asgi_apps.fastapi, "trunkline.uvicorn:WebSocketProtocol")
