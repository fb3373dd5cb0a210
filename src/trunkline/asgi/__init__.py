"""trunkline under ASGI servers."""
