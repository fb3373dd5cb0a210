"""An application of FastAPI, with the class of trunkline."""

from benchmarks.servers import asgi_apps

asgi_apps.main(framework=True, ws="trunkline.uvicorn:WebSocketProtocol")
