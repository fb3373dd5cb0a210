from trunkline.core.session cimport Session
from trunkline.core.writer cimport PreparedMessage
from trunkline.endpoint.carrier cimport Carrier
from trunkline.endpoint.connection cimport BaseConnection

cdef class Life(BaseConnection):
    cdef readonly object clock
    cdef public Carrier carrier
    cdef public object fragmenting
    cdef readonly bint lost
    cdef public bint writing_paused
    cdef readonly bint eof_sent
    cdef bint in_line, gathered
    cdef readonly double due
    cdef public double drop_at

    cdef bint awaken(self)
    cdef object after_receiving(self)
    cpdef object attend(self)
    cpdef object read_on_if_drained(self)
    cpdef object flush(self)
    cdef object obstacle(self)
