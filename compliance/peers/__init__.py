"""One echo peer per library. Each is a program: `python -m compliance.peers.websockets server`."""
