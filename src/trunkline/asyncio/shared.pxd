from trunkline.asyncio.awaitables cimport Sends
from trunkline.endpoint.line cimport Line

cdef class Shared(Line):
    cdef readonly object clock
    cdef Sends sends
    cdef object deadlines
