cdef class Fragment:
    cdef readonly bytes data
    cdef readonly bint text, fin

cdef class Inbox:
    cdef object first
    cdef readonly list items
    cdef list assembling
    cdef Py_ssize_t head
    cdef readonly Py_ssize_t high, low
    cdef public bint paused
    cdef bint busy

    cpdef object put(self, object item)
    cpdef Py_ssize_t size(self)
    cpdef bint overflows(self)
    cpdef bint drained(self)
    cpdef bint unanswered(self)
    cpdef object take(self)
    cpdef bint ready(self)
    cdef object _next(self)
    cdef object _pop(self)
    cdef int _assemble(self, Fragment fragment)
