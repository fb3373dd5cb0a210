from trunkline.asyncio.shared cimport Shared
from trunkline.endpoint.carrier cimport Carrier

cdef class TransportCarrier(Carrier):
    cdef Shared shared
    cdef readonly object transport
    cdef bint gathers
