"""Declarations of what system.pyx and its users need of C."""

cdef extern from "<sys/socket.h>" nogil:
    struct sockaddr:
        pass
    struct sockaddr_storage:
        unsigned short ss_family
    ctypedef unsigned int socklen_t
    ssize_t c_recv "recv"(int fd, void* buffer, size_t size, int flags)

cdef Py_ssize_t send_chunks(int fd, list chunks, Py_ssize_t start, int flags)
cdef Py_ssize_t size_of(list chunks)
cdef object listen_on(int fd, int backlog)
cdef object os_error()
cdef object set_no_delay(int fd, bytes address)
cdef bytes own_address(int fd)
cdef bytes peer_address(int fd)
cdef object parse_address(bytes address)
