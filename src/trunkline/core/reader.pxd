from libc.stdint cimport uint32_t

from trunkline.core.deflate cimport Inflater

cdef class FrameSink:
    cpdef object message(self, object payload)
    cpdef object fragment(self, object fragment)
    cpdef object control(self, int opcode, bytes payload)

cdef class Reader:
    cdef FrameSink sink
    cdef bint masked
    cdef long long max_message, max_frame, max_charge
    cdef readonly bint stopped
    cdef object extensions, trace
    cdef Inflater inflater
    cdef bint plain
    cdef int first, opcode
    cdef bint fin
    cdef uint32_t key
    cdef long long length
    cdef bytes cut_header
    cdef object payload
    cdef Py_ssize_t capacity, filled
    cdef bint is_ascii
    cdef bint compressed
    cdef int message_opcode
    cdef long long message_bytes, message_frames, message_charge
    cdef object validator

    cpdef object stop(self)
    cdef int feed(self, const unsigned char* data, Py_ssize_t n)
    cdef Py_ssize_t _read_header(self, const unsigned char* data, Py_ssize_t n)
    cdef int _check_start(self, int first, int second)
    cdef int _check_reserved_bits(self, int first)
    cdef int _check_limits(self)
    cdef int _check_compressed_size(self, long long limit)
    cdef Py_ssize_t _continue_header(self, const unsigned char* data, Py_ssize_t n)
    cdef int _whole_frame(self, const unsigned char* data)
    cdef int _begin_payload(self)
    cdef Py_ssize_t _continue_payload(self, const unsigned char* data, Py_ssize_t n)
    cdef int _grow_payload(self, Py_ssize_t needed)
    cdef int _advance(self, Py_ssize_t n, bint is_ascii)
    cdef int _complete_payload(self, bint checked)
    cdef bint _is_text(self)
    cdef int _check_text(self, Py_ssize_t start, bint is_ascii)
    cdef Py_ssize_t direct_room(self)
    cdef const unsigned char* direct_memory(self)
    cdef int direct_received(self, Py_ssize_t n)
    cdef bytes _inflate(self, bytes payload)
    cdef int _deliver(self, bytes payload, bint checked)
    cdef int _deliver_fragment(self, bytes payload, bint checked)
    cdef int _charge(self, Py_ssize_t n)
