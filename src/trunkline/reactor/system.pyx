"""The system calls on sockets that transports and listeners share: sending, options, addresses."""

import os
import socket
import sys

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy, memset

cdef extern from "<sys/socket.h>" nogil:
    int getsockname(int fd, sockaddr* address, socklen_t* size)
    int getpeername(int fd, sockaddr* address, socklen_t* size)
    int setsockopt(int fd, int level, int option, const void* value, socklen_t size)
    int c_listen "listen"(int fd, int backlog)
    ssize_t c_send "send"(int fd, const void* buffer, size_t size, int flags)
    enum:
        MSG_NOSIGNAL, AF_INET, AF_INET6

cdef extern from "<netinet/in.h>" nogil:
    enum:
        IPPROTO_TCP

cdef extern from "<netinet/tcp.h>" nogil:
    enum:
        TCP_NODELAY

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t c_sendmsg "sendmsg"(int fd, const msghdr* message, int flags)

cdef enum:
    COALESCE = 16384  # up to so much is copied together, to leave in one buffer
    VECTORS = 64


# Sending

cdef Py_ssize_t send_chunks(int fd, list chunks, Py_ssize_t start, int flags):
    """Send as much as the socket takes of what follows the first `start` bytes, which are less than the first chunk.

    Returns how much that was, or -1 with errno set.
    """
    cdef Py_ssize_t n = len(chunks), i = 0, total = 0, offered
    cdef ssize_t sent
    cdef bytes chunk
    if n == 1:
        chunk = chunks[0]
        sent = c_send(fd, PyBytes_AS_STRING(chunk) + start, PyBytes_GET_SIZE(chunk) - start, flags | MSG_NOSIGNAL)
        return 0 if sent < 0 and (errno == EAGAIN or errno == EINTR) else sent
    while i < n:  # a peer isn't slow because one call of the system takes no more vectors
        sent = send_many(fd, chunks, &i, start, flags | MSG_NOSIGNAL, &offered)
        if sent < 0:
            return total if total > 0 or errno == EAGAIN or errno == EINTR else sent
        total += sent
        start = 0
        if sent < offered:
            break
    return total


cdef ssize_t send_many(int fd, list chunks, Py_ssize_t* i, Py_ssize_t start, int flags, Py_ssize_t* offered):
    """Small chunks are copied together, large ones are gathered by the kernel.

    `i` is the first chunk to send, and then the first that wasn't `offered`, which tells how many bytes were.
    """
    cdef char together[COALESCE]
    cdef iovec vectors[VECTORS]
    cdef msghdr message
    cdef Py_ssize_t size = 0, first = i[0], n = len(chunks)
    cdef bytes chunk
    while i[0] < n:
        chunk = chunks[i[0]]
        if size + PyBytes_GET_SIZE(chunk) > COALESCE:
            break
        memcpy(together + size, PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk))
        size += PyBytes_GET_SIZE(chunk)
        i[0] += 1
    else:
        offered[0] = size - start
        return c_send(fd, together + start, size - start, flags)
    i[0] = min(n, first + VECTORS)
    size = 0
    for n in range(first, i[0]):
        chunk = chunks[n]
        vectors[n - first].iov_base = PyBytes_AS_STRING(chunk)
        vectors[n - first].iov_len = PyBytes_GET_SIZE(chunk)
        size += PyBytes_GET_SIZE(chunk)
    vectors[0].iov_base = <char*>vectors[0].iov_base + start
    vectors[0].iov_len -= start
    offered[0] = size - start
    memset(&message, 0, sizeof(message))
    message.msg_iov = vectors
    message.msg_iovlen = i[0] - first
    return c_sendmsg(fd, &message, flags)


cdef Py_ssize_t size_of(list chunks):
    cdef Py_ssize_t size = 0
    cdef bytes chunk
    for chunk in chunks:
        size += PyBytes_GET_SIZE(chunk)
    return size


# Options and addresses

cdef object listen_on(int fd, int backlog):
    if c_listen(fd, backlog) < 0:
        raise os_error()


cdef object os_error():
    """The OSError of errno, of the subclass that fits."""
    return OSError(errno, os.strerror(errno))


cdef object set_no_delay(int fd, bytes address):
    """A message shall leave now, not when the last one was acknowledged (Nagle's algorithm)."""
    cdef int on = 1
    if family_of(address) in (AF_INET, AF_INET6):
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on))


cdef bytes own_address(int fd):
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    return None if getsockname(fd, <sockaddr*>&address, &size) < 0 else PyBytes_FromStringAndSize(<char*>&address, size)


cdef bytes peer_address(int fd):
    cdef sockaddr_storage address
    cdef socklen_t size = sizeof(address)
    return None if getpeername(fd, <sockaddr*>&address, &size) < 0 else PyBytes_FromStringAndSize(<char*>&address, size)


cdef int family_of(bytes address):
    cdef unsigned short family = 0
    if address is not None and PyBytes_GET_SIZE(address) >= 2:
        memcpy(&family, PyBytes_AS_STRING(address), 2)
    return family


cdef object parse_address(bytes address):
    """A `sockaddr` as the socket module would show it."""
    cdef int family = family_of(address)
    if family == AF_INET:
        return socket.inet_ntop(socket.AF_INET, address[4:8]), int.from_bytes(address[2:4], "big")
    if family == AF_INET6:
        return (
            socket.inet_ntop(socket.AF_INET6, address[8:24]),
            int.from_bytes(address[2:4], "big"),
            int.from_bytes(address[4:8], "big"),
            int.from_bytes(address[24:28], sys.byteorder),  # the scope is kept in host order
        )
    path = address[2:]
    return path if path[:1] == b"\0" else os.fsdecode(path.rstrip(b"\0"))
