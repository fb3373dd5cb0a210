cdef class Inbox:
    cdef readonly list items
    cdef Py_ssize_t head
    cdef list assembling
    cdef readonly Py_ssize_t high, low
    cdef public bint paused
    cdef bint busy

    cpdef object put(self, object item)
    cpdef bint overflows(self)
    cpdef bint drained(self)
    cpdef bint unanswered(self)
    cpdef object take(self)
    cpdef bint ready(self)
    cdef object _pop(self)
