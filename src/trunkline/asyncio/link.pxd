from trunkline.asyncio.awaitables cimport Waiter
from trunkline.asyncio.receiving cimport BUDGET, ReceivingLink
from trunkline.asyncio.shared cimport Shared
from trunkline.core.session cimport Session
from trunkline.core.writer cimport PreparedMessage
from trunkline.endpoint.connection cimport BaseConnection
from trunkline.endpoint.life cimport Life

cdef Py_ssize_t MOST_WAITING, MOST_GATHERED

cdef class Drain(Waiter):
    cdef Link connection

cdef class Link(ReceivingLink):
    cdef list drains
    cdef public object on_writable, on_closing
    cdef public object closed_waiter

    cdef object send_now(self, PreparedMessage message)
    cdef object leave(self)
    cdef object _when_taken(self)
    cpdef bint send_nowait(self, PreparedMessage message)
    cpdef bint send_soon(self, PreparedMessage message)
    cdef object _flush_unless_held(self)
    cdef bint _must_leave(self)
