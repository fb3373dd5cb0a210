from trunkline.core.deflate cimport Deflater, SharedHistory

cdef Py_ssize_t SEPARATE_PAYLOAD

cdef class MaskingKeys:
    cdef bytes pool
    cdef Py_ssize_t used

    cpdef unsigned int draw(self)

cdef MaskingKeys masking_keys

cpdef Py_ssize_t write_frame(list outgoing, int first, object payload, bint masked)

cdef class PreparedFrame:
    cdef int first
    cdef readonly bytes payload
    cdef readonly list buffers
    cdef readonly Py_ssize_t size

    cpdef Py_ssize_t write(self, list outgoing, bint masked)

cdef class PreparedMessage(PreparedFrame):
    cdef readonly int opcode
    cdef readonly object compress
    cdef dict frames
    cdef SharedHistory history

    cpdef PreparedFrame deflated(self, Deflater deflater)
    cdef PreparedFrame _deflate(self, Deflater deflater)
