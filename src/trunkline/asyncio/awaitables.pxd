cdef int IDLE, WAITING, WOKEN, CANCELLED
cdef object DONE

cdef class CoroutineLike:
    pass

cdef class Waiter(CoroutineLike):
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

cdef class Pause(CoroutineLike):
    cdef bint paused

# The same fields, for the one becomes the other.
cdef class Sent(CoroutineLike):
    cdef object __weakref__
    cdef readonly object get_loop

cdef class SentFuture:
    cdef object __weakref__
    cdef readonly object get_loop

cdef class Sends:
    cdef object get_loop
    cdef Sent sent

    cdef Sent result(self)

cdef object answer_without_raising(object waiter_type)
