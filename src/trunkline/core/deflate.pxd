cdef class SharedHistory:
    cdef bytes payload, before, after

    cdef bytes behind(self, bytes before)

cdef class KeptStream:
    cdef object stream

cdef class Deflater:
    cdef readonly int bits
    cdef readonly bint takeover
    cdef readonly bint every
    cdef readonly int kind
    cdef object _new
    cdef tuple _arguments
    cdef bint _keeps
    cdef bytes _history
    cdef KeptStream _kept
    cdef object _stream

    cpdef bint wants(self, Py_ssize_t size, object compress)
    cpdef bytes message(self, bytes payload, bint stored=*)
    cpdef bytes message_for_all(self, bytes payload, bint stored=*)
    cpdef bytes fragment(self, bytes payload, bint fin, bint stored=*)
    cpdef object remember(self, bytes payload)
    cdef object _start(self, bytes history)
    cdef object remember_shared(self, SharedHistory shared)
    cdef object _extend_history(self, bytes payload)

cdef class Inflater:
    cdef readonly int bits
    cdef readonly bint takeover
    cdef bytes _window
    cdef object _stream

    cpdef bytes inflate(self, bytes data, bint fin=*, object max_size=*)
    cdef bytes _inflate_whole(self, bytes data, Py_ssize_t max_size)
    cdef bytes _inflate(self, bytes data, Py_ssize_t max_size)
    cdef object _start(self, Py_ssize_t size)
    cdef object _remember(self, bytes piece)
    cdef object _finish(self)

cdef bytes _compress(object stream, bytes payload, bint every)
cdef object _store()
