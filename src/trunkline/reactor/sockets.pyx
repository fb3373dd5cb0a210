"""Sockets that listen and sockets that connect, for the transports of the reactor."""

import asyncio
import errno as errnos
import os
import socket

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno
from libc.stdint cimport uint32_t

from trunkline.endpoint.line cimport Line
from trunkline.reactor.epoll cimport EPOLLIN, Reactor, Watched, reactor_of
from trunkline.reactor.system cimport (
    listen_on, os_error, own_address, peer_address, set_no_delay, sockaddr, sockaddr_storage, socklen_t,
)
from trunkline.reactor.transport cimport Transport

cdef extern from "<sys/socket.h>" nogil:
    int accept4(int fd, sockaddr* address, socklen_t* size, int flags)
    enum:
        SOCK_NONBLOCK, SOCK_CLOEXEC

cdef extern from "<unistd.h>" nogil:
    int c_close "close"(int fd)

cdef enum:
    ACCEPTS = 128  # connections accepted in one turn


# Listening

cdef class Socket(Watched):
    """A listening socket; descriptors are duplicates, so that closing either one leaves the other alone."""

    cdef int on_event(self, uint32_t events) except -1:
        cdef sockaddr_storage address
        cdef socklen_t size
        cdef int fd, i
        for i in range(ACCEPTS):
            size = sizeof(address)
            fd = accept4(self.fd, <sockaddr*>&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd >= 0:
                self.listener.accepted(fd, PyBytes_FromStringAndSize(<char*>&address, size))
            elif errno in (EMFILE, ENFILE, ENOBUFS, ENOMEM):
                self.listener.accept_later(self, os_error())
                break
            elif errno != ECONNABORTED and errno != EINTR:
                break
        return 0

    cdef object close(self):
        if self.fd >= 0:
            self.reactor.remove(self)


cdef class Listener:
    """Listens on the sockets of an asyncio server, in its stead; see `asyncio.Server` for the methods."""

    def __init__(self, loop, Line line, factory, server, backlog):
        self.loop = loop
        self.line = line
        self.factory = factory
        self.server = server
        self.backlog = backlog
        self.listening = []

    @property
    def sockets(self):
        return () if self.closed else self.server.sockets

    @property
    def _ssl_context(self):
        # By this name of asyncio's, programs ask whether a server is one of wss://.
        return None

    def is_serving(self):
        return bool(self.listening)

    async def start_serving(self):
        cdef Reactor reactor = reactor_of(self.loop, self.line)
        cdef Socket watched
        for sock in self.sockets:
            watched = Socket()
            watched.listener = self
            watched.reactor = reactor
            watched.fd = os.dup(sock.fileno())
            set_no_delay(watched.fd, own_address(watched.fd))  # accepted sockets inherit it: tcp(7)
            if self.backlog is not None:
                listen_on(watched.fd, self.backlog)
            reactor.add(watched)
            watched.watch(EPOLLIN)
            self.listening.append(watched)

    def close(self):
        cdef Socket watched
        for watched in self.listening:
            watched.close()
        self.listening = []
        self.closed = True
        self.server.close()

    cdef object accepted(self, int fd, bytes peer):
        try:
            protocol = self.factory()
        except BaseException:
            c_close(fd)
            raise
        cdef Transport transport = self.take_over(Transport(), fd, peer)
        try:
            transport.start(protocol)
        except BaseException:
            transport.abort()
            raise

    cdef Transport take_over(self, Transport transport, int fd, bytes peer):
        """Let a transport take over an accepted socket."""
        transport.peer = peer
        transport.register(reactor_of(self.loop, self.line), self.loop, fd)
        return transport

    cdef object accept_later(self, Socket watched, error):
        self.loop.call_exception_handler({"message": "socket.accept() out of system resource", "exception": error})
        watched.watch(0)
        self.loop.call_later(1, self._accept_again, watched)

    def _accept_again(self, Socket watched):
        watched.watch(EPOLLIN)


async def listen(create, line, factory, *, backlog, listener=Listener, start_serving=True, **kwargs):
    """Let asyncio make the listening sockets, with all its options, and accept on them.

    Args:
        create: `loop.create_server` or `loop.create_unix_server`.
        line: the `Line` of the loop.
        factory: makes an `asyncio.Protocol` for each connection.
        backlog: connections that may wait until they are accepted; None leaves a socket alone that listens already.
    """
    server = await create(asyncio.Protocol, start_serving=False, **kwargs)
    made = listener(asyncio.get_running_loop(), line, factory, server, backlog)
    if start_serving:
        await made.start_serving()
    return made


# Connecting

async def connect(loop, line, factory, unix, **kwargs):
    """Connect a socket and return the `asyncio.Protocol` that `factory` makes for it."""
    sock = await connected_socket(loop, unix, **kwargs)
    cdef Transport transport = Transport()
    protocol = factory()
    take_over(transport, loop, line, sock)
    transport.start(protocol)
    return protocol


def adopt(loop, line, protocol, sock):
    """Carry a connection whose socket something else has carried so far."""
    cdef Transport transport = Transport()
    take_over(transport, loop, line, sock)
    transport.start(protocol)


async def connected_socket(loop, unix, *, sock=None, path=None, host=None, port=None, family=0, proto=0, flags=0,
                           local_addr=None):
    """A non-blocking socket; for the arguments see `loop.create_connection` and `loop.create_unix_connection`."""
    if sock is None and unix:
        sock = await _connect_one(loop, socket.AF_UNIX, socket.SOCK_STREAM, 0, os.fspath(path), None)
    elif sock is None:
        sock = await _connect_any(loop, host, port, family, proto, flags, local_addr)
    sock.setblocking(False)
    return sock


async def _connect_any(loop, host, port, family, proto, flags, local_addr):
    """Try the addresses of a host one after the other."""
    infos = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags)
    local = None if local_addr is None else await _local_addresses(loop, local_addr, family, proto, flags)
    errors = []
    for info_family, kind, info_proto, _, address in infos:
        try:
            return await _connect_one(loop, info_family, kind, info_proto, address, local)
        except OSError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    raise OSError(f"connecting to {host} port {port} failed: " + ", ".join(map(str, errors)))


async def _local_addresses(loop, local_addr, family, proto, flags):
    """The addresses that a client may bind, as pairs of family and address; None for the host means any."""
    host, port = local_addr[:2]
    infos = await loop.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, proto=proto, flags=flags | socket.AI_PASSIVE
    )
    return [(info_family, address) for info_family, _, _, _, address in infos]


def _bind(sock, local):
    """Bind the first address of the socket's family that can be had."""
    error = OSError(errnos.EADDRNOTAVAIL, f"no local address of family {sock.family.name}")
    for family, address in local:
        if family == sock.family:
            try:
                return sock.bind(address)
            except OSError as failure:
                error = failure
    raise error


async def _connect_one(loop, family, kind, proto, address, local):
    sock = socket.socket(family, kind, proto)
    try:
        sock.setblocking(False)
        if local is not None:
            _bind(sock, local)
        await loop.sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


cdef object take_over(Transport transport, loop, Line line, sock):
    """Let a transport take over a connected socket."""
    transport.peer = peer_address(sock.fileno())
    fd = sock.detach()
    set_no_delay(fd, transport.peer)
    transport.register(reactor_of(loop, line), loop, fd)
