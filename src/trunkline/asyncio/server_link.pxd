from trunkline.asyncio.link cimport Link

cdef class ServerLink(Link):
    cdef readonly object server
    cdef readonly object handshake
    cdef public tuple farewell
    cdef public object on_server_closing
    cdef object task
    cdef int running
    cdef bint rejected, half_closed
    cdef bint asking
