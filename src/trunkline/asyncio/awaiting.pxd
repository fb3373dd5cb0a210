"""The C side of awaitables.py; see awaiting.h."""

from cpython.object cimport PyObject

cdef extern from "awaiting.h":
    ctypedef int (*tl_send)(PyObject*, PyObject*, PyObject**) except? -1
    ctypedef PyObject* (*tl_next)(PyObject*) except *
    void install "tl_install"(object type, tl_send send, tl_next next)
    PyObject* stop "tl_stop"(object value) noexcept
    bint wakes_task "tl_wakes_task"(object callback) noexcept
    PyObject* leave_context "tl_leave_context"() noexcept
    void enter_context "tl_enter_context"(PyObject* context) noexcept
    void mark "tl_mark"(object code) noexcept
    void become "tl_become"(object sent, object future_type) noexcept
    object future_coroutine_type "tl_future_coroutine_type"()
    enum:
        PYGEN_RETURN, PYGEN_NEXT
