"""An application of FastAPI, with uvicorn's own class."""

from benchmarks.servers import asgi_apps

asgi_apps.main(asgi_apps.fastapi, "auto")
