"""The WebSocket protocol without I/O: bytes in, messages and bytes to send out (RFC 6455)."""
