from libc.stdint cimport uint32_t, uint64_t

from trunkline.endpoint.carrier cimport Carrier
from trunkline.endpoint.line cimport Line

cdef enum:
    RECEIVE_BUFFER = 262144
    DIRECT = 65536  # a payload with room for so much is received in place

cdef extern from "<sys/socket.h>" nogil:
    ssize_t c_recv "recv"(int fd, void* buffer, size_t size, int flags)

cdef class Watched(Carrier):
    cdef Reactor reactor
    cdef int fd
    cdef uint32_t serial, interest

    cdef int on_event(self, uint32_t events) except -1
    cdef int watch(self, uint32_t interest) except -1

cdef class Reactor:
    cdef object loop
    cdef object __weakref__
    cdef int epoll, pid
    cdef int polled  # what the loop watches: the epoll, or the socket of `alone`
    cdef uint32_t next_serial
    cdef list watched  # by descriptor; None where there is none
    cdef Py_ssize_t count
    cdef Transport alone  # if there is nothing else
    cdef double now  # when this batch began
    cdef Line line  # of its connections
    cdef unsigned char* buffer

    cdef object add(self, Watched watched)
    cdef object remove(self, Watched watched)
    cdef object _close(self)
    cdef object control(self, int operation, Watched watched, uint32_t interest)
    cdef object _choose_polled(self)
    cdef Transport _find_alone(self)
    cdef int _handle_batch(self) except -1
    cdef int _on_event(self, uint64_t key, uint32_t events) except -1
    cdef int _handle(self, Watched watched, uint32_t events) except -1
    cdef object _report(self, error)

cdef class Transport(Watched):
    cdef object __weakref__
    cdef dict __dict__  # as transports of asyncio have, for functions in place of methods
    cdef object loop
    cdef object protocol  # an asyncio.Protocol; if it is a Life, `life`, too
    cdef list waiting  # bytes that the socket did not take yet, or None
    cdef Py_ssize_t waiting_start  # the first of them that it did not take, in the first chunk
    cdef Py_ssize_t waiting_size, high, low
    cdef bint reading, closing, lost, writing_paused, eof_wanted, write_replaced
    cdef bytes peer, own
    cdef object sock

    cdef object register(self, Reactor reactor, object loop, int fd)
    cdef object start(self, object protocol)
    cdef object _adopt(self, object protocol)
    cdef int receive(self) except -1
    cdef int deliver(self, const unsigned char* data, Py_ssize_t n, bint direct) except -1
    cdef object receive_eof(self)
    cdef object update(self)
    cdef int transmit(self, list chunks, bint last=*) except -1
    cdef int _drop_sent(self, Py_ssize_t sent) except -1
    cdef int _limit_waiting(self) except -1
    cdef object _send_waiting(self)
    cdef object all_sent(self)
    cdef object _write_held(self)
    cdef object fail(self, error)
    cdef object lose(self, error)
    cdef object ended(self, error)
    cdef object _socket(self)

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

cdef Reactor reactor_of(loop, Line line)
cdef object os_error()
cdef object take_over(Transport transport, loop, Line line, sock)
