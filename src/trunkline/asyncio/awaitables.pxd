cdef int IDLE, WAITING, WOKEN, CANCELLED
cdef object DONE

cdef class Waiter:
    cdef readonly object get_loop
    cdef int phase
    cdef public object _asyncio_future_blocking
    cdef object callback, context, cancel_message

    cdef object step(self)
    cdef object release(self)
    cdef object wait(self)
    cpdef object wake_now(self)
    cpdef object wake_soon(self)
    cdef object _wake(self)

cdef class Pause:
    cdef bint paused

cdef class Sent:
    cdef object __weakref__
    cdef readonly object get_loop
    cdef public object _asyncio_future_blocking

cdef object answer_without_raising(object waiter_type)
