"""WebSocket clients and servers for programs with threads instead of an event loop."""
