from libc.stdint cimport uint32_t, uint64_t

from trunkline.endpoint.carrier cimport Carrier
from trunkline.endpoint.line cimport Line

cdef enum:
    RECEIVE_BUFFER = 262144

cdef extern from "<sys/epoll.h>" nogil:
    enum:
        EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP

cdef class Watched(Carrier):
    cdef Reactor reactor
    cdef int fd
    cdef uint32_t serial, interest
    cdef bint may_be_alone  # it needs no other socket beside it, as one that listens does

    cdef int on_event(self, uint32_t events) except -1
    cdef object give_up(self)
    cdef int watch(self, uint32_t interest) except -1

cdef class Reactor:
    cdef object loop
    cdef object __weakref__
    cdef int epoll, pid
    cdef int polled  # what the loop watches: the epoll, or the socket of `alone`
    cdef uint32_t next_serial
    cdef list watched  # by descriptor; None where there is none
    cdef Py_ssize_t count
    cdef Watched alone  # if there is nothing else
    cdef double now  # when this batch began
    cdef Line line  # of its connections
    cdef unsigned char* buffer

    cdef object add(self, Watched watched)
    cdef object remove(self, Watched watched)
    cdef object _close(self)
    cdef object control(self, int operation, Watched watched, uint32_t interest)
    cdef object _choose_polled(self)
    cdef Watched _find_alone(self)
    cdef int _handle_batch(self) except -1
    cdef int _on_event(self, uint64_t key, uint32_t events) except -1
    cdef int _handle(self, Watched watched, uint32_t events) except -1
    cdef object _report(self, error)

cdef Reactor reactor_of(loop, Line line)
