from trunkline.asyncio.awaitables cimport Sends, Waiter
from trunkline.asyncio.shared cimport Shared
from trunkline.core.session cimport Session
from trunkline.endpoint.life cimport Life

cdef int BUDGET, QUICK_BATCHES
cdef double QUICK

cdef class Receive(Waiter):
    cdef ReceivingLink connection
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

cdef Receive receive(ReceivingLink connection, bint iterating=*, bint fragment=*, bint event=*)

cdef class Messages:
    cdef ReceivingLink connection

cdef class ReceivingLink(Life):
    cdef readonly object loop
    cdef public unsigned long thread
    cdef readonly Shared shared
    cdef object get_loop
    cdef Sends sends
    cdef public Receive receiver
    cdef public bint streaming_broken
    cdef int budget
    cdef int quick_batches

    cdef object event_of(self, object message)
    cdef object last_event(self)
    cdef object wait_in_line(self, Receive receiver)
    cdef object call_next_in_line(self)
    cdef object _wake_for_batch(self, Receive receiver)
