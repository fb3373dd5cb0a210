"""The C side of compiled types that have signatures; see signature.h."""

cdef extern from "trunkline/core/signature.h":
    int sign "tl_sign"(object type, const char* parameters) except -1
