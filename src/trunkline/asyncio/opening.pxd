from trunkline.asyncio.server_link cimport ServerLink
from trunkline.asyncio.shared cimport Shared

cdef class ServerOpening:
    cdef object __weakref__
    cdef readonly object server, transport
    cdef Shared shared
    cdef public object handshake, request
    cdef readonly ServerLink made
    cdef object task
    cdef readonly bint lost
    cdef bint rejected, half_closed, asking, answering
    cdef double due

    cdef bint _take_fast_path(self, bytes data)
    cdef object _open(self, ServerLink connection, bytes head, object agreed)
