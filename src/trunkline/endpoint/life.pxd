from trunkline.core.session cimport Session
from trunkline.endpoint.carrier cimport Carrier
from trunkline.endpoint.connection cimport BaseConnection

cdef class Life(BaseConnection):
    cdef readonly object clock
    cdef public Carrier carrier
    cdef readonly bint lost
    cdef public bint writing_paused
    cdef bint eof_sent
    cdef double due
    cdef public double drop_at

    cpdef object after_receiving(self)
    cpdef object attend(self)
    cpdef object read_on_if_drained(self)
    cpdef object flush(self)
