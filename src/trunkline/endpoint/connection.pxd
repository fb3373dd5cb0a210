from trunkline.core.session cimport Session
from trunkline.core.writer cimport PreparedMessage

cdef class BaseConnection:
    cdef object __weakref__
    cdef readonly object options
    cdef readonly object base_logger
    cdef object _id, _logger
    cdef readonly bint debug
    cdef readonly Session session
    cdef object _request, _response
    cdef readonly object negotiated_subprotocol
    cdef readonly tuple extensions
    cdef object _protocol
    cdef public Py_ssize_t skipped_broadcasts
    cdef double opened_at

    cpdef bint put(self, object message, object text, object compress)
    cpdef object broadcast(self, PreparedMessage message)
    cdef object deliver(self, PreparedMessage message)
