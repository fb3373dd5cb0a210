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
    enum:
        PYGEN_RETURN, PYGEN_NEXT
