from trunkline.asyncio.awaitables cimport Sends, Waiter
from trunkline.core.session cimport Session
from trunkline.core.writer cimport PreparedMessage
from trunkline.endpoint.connection cimport BaseConnection

cdef Py_ssize_t AT_ONCE, MOST_WAITING
cdef int BUDGET, QUICK_BATCHES
cdef double QUICK, LONGEST_WAIT

cdef class Shared:
    cdef object __weakref__
    cdef object get_loop, clock, deadlines, turn
    cdef Sends sends
    cdef readonly Py_ssize_t connections
    cdef list line
    cdef Py_ssize_t next
    cdef bint may_wake_now
    cdef Link holder
    cdef double held_since

    cdef object put_in_line(self, Link connection)
    cpdef object note_mode(self)
    cpdef object wake_line(self)
    cdef object wake(self, Link connection)
    cdef object _forget_line(self)
    cdef object _wake(self, Link connection)
    cdef object ask_for_turn(self)

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

ctypedef object (*write_chunks)(object transport, list chunks, bint last)

cdef class Link(BaseConnection):
    cdef readonly object loop
    cdef public unsigned long thread
    cdef Shared shared
    cdef object get_loop
    cdef Sends sends
    cdef readonly object clock
    cdef public object transport
    cdef write_chunks write_chunks
    cdef public Receive receiver
    cdef public bint streaming_broken
    cdef list drains
    cdef public object fragmenting
    cdef public object on_writable, on_closing
    cdef int budget
    cdef int quick_batches
    cdef bint in_line, corked
    cdef public bint writing_paused
    cdef bint eof_sent
    cdef readonly bint lost
    cdef public object closed_waiter
    cdef double drop_at, due

    cdef object event_of(self, object message)
    cdef object last_event(self)
    cdef object wait_in_line(self, Receive receiver)
    cdef object call_next_in_line(self)
    cdef object after_receiving(self, bint may_wake_now)
    cdef object _wake_receiver(self, Receive receiver, bint may_wake_now)
    cdef object _wake_for_batch(self, Receive receiver)
    cdef object _cork(self, Shared shared)
    cdef object _uncork(self, Shared shared)
    cdef object leave(self)
    cdef object _when_taken(self)
    cdef object flush(self)
    cpdef bint send_nowait(self, PreparedMessage message)
    cdef object _send_now(self, PreparedMessage message)
    cdef object _flush_unless_corked(self)
    cdef bint _must_leave(self)
