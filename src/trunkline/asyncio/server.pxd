from trunkline.asyncio.connection cimport Connection

cdef class ServerConnection(Connection):
    cdef readonly object server
    cdef readonly object handshake
    cdef public tuple farewell
    cdef object task
    cdef int running
    cdef bint rejected, half_closed
    cdef bint asking
