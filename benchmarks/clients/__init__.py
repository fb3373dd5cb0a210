"""One client per peer. Each is a program: `python -m benchmarks.clients.websockets 8765 --depth 16 --loop uvloop`."""
