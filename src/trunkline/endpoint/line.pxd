from trunkline.endpoint.life cimport Life

cdef Py_ssize_t AT_ONCE
cdef double LONGEST_WAIT

cdef class Line:
    cdef object __weakref__
    cdef readonly object get_loop
    cdef list waiting
    cdef Py_ssize_t next
    cdef object turn
    cdef readonly bint may_wake_now
    cdef Life holder
    cdef double held_since
    cdef list gathered

    cdef object put(self, Life life)
    cpdef object note_mode(self)
    cpdef object wake_all(self)
    cdef object wake(self, Life life)
    cdef object _forget_woken(self)
    cdef object _wake(self, Life life)
    cdef object ask_for_turn(self)
    cdef object hold(self, Life life)
    cdef object release(self, Life life)
    cdef bint waits_too_long(self, double now)
    cdef object gather(self, Life life)
    cpdef bint write_gathered(self)
    cdef object _write(self, Life life)
