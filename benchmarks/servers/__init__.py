"""One server per peer. Each is a program: `python -m benchmarks.servers.websockets echo --loop uvloop`."""
