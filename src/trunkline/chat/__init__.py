"""A chat room for browsers and for any WebSocket client, in one process on one port: ``trunkline chat``."""
