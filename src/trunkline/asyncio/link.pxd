from trunkline.asyncio.awaitables cimport Sends, Waiter
from trunkline.asyncio.shared cimport Shared
from trunkline.core.session cimport Session
from trunkline.core.writer cimport PreparedMessage
from trunkline.endpoint.connection cimport BaseConnection
from trunkline.endpoint.life cimport Life

cdef Py_ssize_t MOST_WAITING
cdef int BUDGET, QUICK_BATCHES
cdef double QUICK

cdef class Receive(Waiter):
    cdef Link connection
    cdef bint iterating
    cdef readonly bint fragment
    cdef bint event

    cdef bint has_something(self)
    cdef bint _loop_ends(self)
    cdef object _wait_a_turn(self)
    cdef object _nothing_there(self)

cdef class Spares:
    cdef Receive newer, older

    cdef object put(self, Receive ended)
    cdef Receive take(self)

cdef Spares spares

cdef Receive receive(Link connection, bint iterating=*, bint fragment=*, bint event=*)

cdef class Messages:
    cdef Link connection

cdef class Drain(Waiter):
    cdef Link connection

cdef class Link(Life):
    cdef readonly object loop
    cdef public unsigned long thread
    cdef Shared shared
    cdef object get_loop
    cdef Sends sends
    cdef public Receive receiver
    cdef public bint streaming_broken
    cdef list drains
    cdef public object on_writable, on_closing
    cdef int budget
    cdef int quick_batches
    cdef public object closed_waiter

    cdef object event_of(self, object message)
    cdef object last_event(self)
    cdef object wait_in_line(self, Receive receiver)
    cdef object call_next_in_line(self)
    cdef object _wake_for_batch(self, Receive receiver)
    cdef object leave(self)
    cdef object _when_taken(self)
    cpdef bint send_nowait(self, PreparedMessage message)
    cdef object _flush_unless_held(self)
    cdef bint _must_leave(self)
