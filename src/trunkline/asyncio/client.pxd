from trunkline.asyncio.connection cimport Connection

cdef class ClientConnection(Connection):
    cdef readonly object opening
    cdef readonly object opened
