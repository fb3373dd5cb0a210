from trunkline.asyncio.connection cimport Connection

cdef class ClientConnection(Connection):
    cdef readonly object handshake
    cdef readonly object opened
