"""The C side of kernels.py; see kernels.h."""

from libc.stdint cimport uint32_t

cdef extern from "kernels.h":
    const unsigned char* at "tl_at"(const unsigned char* memory, Py_ssize_t offset)
    const unsigned char* memory "tl_memory"(bytes data)
    uint32_t key_at "tl_key_at"(const unsigned char* memory, Py_ssize_t offset)
    object take_binary "tl_take_binary"(const unsigned char* source, Py_ssize_t n, uint32_t key)
    object take_text "tl_take_text"(const unsigned char* source, Py_ssize_t n, uint32_t key)
    object payload_new "tl_payload_new"(Py_ssize_t capacity, bint text)
    object payload_grow "tl_payload_grow"(object payload, Py_ssize_t filled, Py_ssize_t capacity)
    bint payload_fill "tl_payload_fill"(
        object payload, Py_ssize_t filled, const unsigned char* source, Py_ssize_t n, uint32_t key)
    bint payload_unmask "tl_payload_unmask"(object payload, Py_ssize_t filled, Py_ssize_t n, uint32_t key)
    const unsigned char* payload_at "tl_payload_at"(object payload, Py_ssize_t offset)
    object payload_slice "tl_payload_slice"(object payload, Py_ssize_t start, Py_ssize_t end)
    object payload_done "tl_payload_done"(object payload, bint is_ascii)
    object header "tl_header"(unsigned char first, Py_ssize_t n)
    object frame "tl_frame"(unsigned char first, object data, bint masked, uint32_t key)
    bytes last "tl_last"(Py_ssize_t size, bytes before, bytes after)
