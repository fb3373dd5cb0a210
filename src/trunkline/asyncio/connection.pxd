from trunkline.asyncio.awaitables cimport Waiter
from trunkline.core.session cimport Session
from trunkline.core.writer cimport PreparedMessage
from trunkline.endpoint.connection cimport BaseConnection

cdef Py_ssize_t CORK_LIMIT
cdef int BUDGET

cdef class Receive(Waiter):
    cdef Connection connection
    cdef bint iterating
    cdef readonly bint fragment

    cdef bint has_something(self)
    cdef object _wait_a_turn(self)
    cdef object _nothing_there(self)

cdef class Spares:
    cdef Receive newer, older

    cdef object put(self, Receive ended)
    cdef Receive take(self)

cdef Spares spares

cdef Receive receive(Connection connection, bint iterating=*, bint fragment=*)

cdef class Messages:
    cdef Connection connection

cdef class Drain(Waiter):
    cdef Connection connection

ctypedef object (*write_chunks)(object transport, list chunks, bint last)

cdef class Connection(BaseConnection):
    cdef readonly object loop
    cdef unsigned long thread
    cdef object shared, get_loop, sent, clock
    cdef public object transport
    cdef write_chunks write_chunks
    cdef public Receive receiver
    cdef bint streaming_broken
    cdef list drains
    cdef object fragmenting
    cdef public object on_writable, on_closing
    cdef int budget
    cdef public bint corked, writing_paused
    cdef bint eof_sent
    cdef readonly bint lost
    cdef object closed_waiter
    cdef double drop_at, due

    cdef object after_receiving(self, bint may_wake_now)
    cdef object _wake_receiver(self, bint may_wake_now)
    cdef object leave(self)
    cdef object flush(self)
    cpdef bint send_nowait(self, PreparedMessage message)
    cdef object _send_now(self, PreparedMessage message)
    cdef object _flush_unless_corked(self)
