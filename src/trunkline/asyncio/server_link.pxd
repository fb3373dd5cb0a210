from trunkline.asyncio.link cimport Link

cdef class ServerLink(Link):
    cdef readonly object server
    cdef public tuple farewell
    cdef public object on_server_closing
    cdef object task
