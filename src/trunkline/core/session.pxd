from trunkline.core.inbox cimport Inbox
from trunkline.core.reader cimport FrameSink, Reader
from trunkline.core.writer cimport PreparedFrame, PreparedMessage, write_frame
from trunkline.core.deflate cimport Deflater

cdef int FIN, RSV1
cdef double NEVER

cdef class Session(FrameSink):
    cdef readonly bint client
    cdef public int phase
    cdef readonly Inbox inbox
    cdef readonly Reader reader
    cdef public list outgoing
    cdef public Py_ssize_t outgoing_size
    cdef readonly Py_ssize_t discarded
    cdef public bint attention
    cdef public bint eof_wanted
    cdef readonly bint eof_received, expired
    cdef public object trace
    cdef bint plain
    cdef readonly object extensions
    cdef Deflater deflater
    cdef bint deflating
    cdef public object close_rcvd, close_sent, close_rcvd_then_sent
    cdef public object failure, unlogged
    cdef public object ping_interval, ping_timeout, close_timeout
    cdef dict _pings
    cdef list _acknowledged
    cdef public double latency
    cdef readonly bint backlogged
    cdef bytes owed_pong
    cdef public double now
    cdef double ping_at, pong_due, close_due, fault_due
    cdef readonly object pending_fault

    cdef object receive_memory(self, const unsigned char* data, Py_ssize_t n)
    cdef object receive_direct(self, Py_ssize_t n)
    cpdef object message(self, object payload)
    cpdef object fragment(self, object fragment)
    cpdef object control(self, int opcode, bytes payload)
    cpdef object send(self, int opcode, object payload, bint fin=*, object compress=*)
    cpdef object send_prepared(self, PreparedMessage message)
    cdef list shared_buffers(self, PreparedMessage message)
    cdef PreparedFrame _shared_frame(self, PreparedMessage message)
    cdef tuple _deflate(self, int first, object payload, object compress)
    cpdef list take_outgoing(self)
