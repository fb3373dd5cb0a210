from trunkline.reactor.epoll cimport Reactor, Watched

cdef enum:
    DIRECT = 65536  # a payload with room for so much is received in place

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
