cdef unsigned long long MASK

cdef class Field:
    cdef readonly str name
    cdef readonly int kind, shape
    cdef readonly unsigned long long tag
    cdef bytes written, written_value
    cdef object default
    cdef public Table table

cdef class Table:
    cdef object struct
    cdef list fields
    cdef dict by_tag

cdef class Reading:
    cdef bytes data
    cdef Py_ssize_t at

    cdef object message(self, Table table, Py_ssize_t end)
    cdef object entry(self, dict values, Field field, Py_ssize_t end)
    cdef object value(self, Field field, Py_ssize_t end)
    cdef str text(self, Py_ssize_t end)
    cdef bytes chunk(self, Py_ssize_t end)
    cdef object skip(self, int kind, Py_ssize_t end)
    cdef Py_ssize_t length(self, Py_ssize_t end)
    cdef unsigned long long number(self, Py_ssize_t end)

cdef int TEXT, PAYLOAD, MESSAGE, BOOL, UINT32, INT32, UINT64, INT64
cdef int ONE, LIST, DICT
cdef int VARINT, I64, LEN, I32
cdef int KEY, VALUE
cdef list BYTES
