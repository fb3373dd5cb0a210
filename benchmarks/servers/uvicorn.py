"""A plain ASGI application, with uvicorn's own class."""

from benchmarks.servers import asgi_apps

asgi_apps.main(asgi_apps.plain, "auto")
