"""The C side of kernels.py; see kernels.h."""

from libc.stdint cimport uint32_t

cdef extern from "kernels.h":
    const unsigned char* at "tl_at"(const unsigned char* memory, Py_ssize_t offset)
    const unsigned char* memory "tl_memory"(bytes data)
    uint32_t key_at "tl_key_at"(const unsigned char* memory, Py_ssize_t offset)
    object take_binary "tl_take_binary"(const unsigned char* source, Py_ssize_t n, uint32_t key)
    object take_text "tl_take_text"(const unsigned char* source, Py_ssize_t n, uint32_t key)
    object payload_new "tl_payload_new"(Py_ssize_t capacity)
    object payload_grow "tl_payload_grow"(object payload, Py_ssize_t filled, Py_ssize_t capacity)
    void payload_fill "tl_payload_fill"(
        object payload, Py_ssize_t filled, const unsigned char* source, Py_ssize_t n, uint32_t key)
    bint payload_is_ascii "tl_payload_is_ascii"(object payload, Py_ssize_t start, Py_ssize_t end)
    void payload_unmask "tl_payload_unmask"(object payload, Py_ssize_t filled, Py_ssize_t n, uint32_t key)
    object header "tl_header"(unsigned char first, Py_ssize_t n)
    object frame "tl_frame"(unsigned char first, object data, bint masked, uint32_t key)
