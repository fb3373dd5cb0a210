from trunkline.endpoint.line cimport Line
from trunkline.reactor.epoll cimport Watched
from trunkline.reactor.transport cimport Transport

cdef class Socket(Watched):
    cdef Listener listener

    cdef object close(self)

cdef class Listener:
    cdef object loop, factory, server
    cdef Line line
    cdef list listening
    cdef object backlog
    cdef bint closed

    cdef object accepted(self, int fd, bytes peer)
    cdef Transport take_over(self, Transport transport, int fd, bytes peer)
    cdef object accept_later(self, Socket watched, error)

cdef object take_over(Transport transport, loop, Line line, sock)
