"""The Linux engine: asyncio transports in compiled code, all sockets of an event loop behind one epoll descriptor."""
