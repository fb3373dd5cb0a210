from trunkline.asyncio.link cimport Link
from trunkline.asyncio.receiving cimport Receive

cpdef object message_of(dict event)

cdef class ASGILink(Link):
    cdef public bint connect_told
    cdef list waiting_receivers
