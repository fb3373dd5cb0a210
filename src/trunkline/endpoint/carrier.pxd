cdef class Carrier:
    cdef public object life

    cdef object carry(self, list chunks, bint last)
