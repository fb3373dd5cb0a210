cdef class Carrier:
    cpdef object write(self, list chunks, bint last)
    cpdef Py_ssize_t backlog(self)
