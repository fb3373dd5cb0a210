"""The asyncio driver: `client`, `server`, and the `connection` they share."""
