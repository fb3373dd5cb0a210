/* Leaf operations on raw memory, for the compiled build. kernels.py is their twin in pure Python; tests compare the two.
 *
 * Masking (RFC 6455 section 5.3) is an exclusive or with a repeated 4-byte key. `key` holds the first key byte in its lowest
 * 8 bits, whatever the byte order of the machine; a key of 0 leaves the payload as it is, so unmasked frames need no other path. */
#ifndef TRUNKLINE_KERNELS_H
#define TRUNKLINE_KERNELS_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

static inline const unsigned char *tl_at(const unsigned char *memory, Py_ssize_t offset) { return memory + offset; }

static inline const unsigned char *tl_memory(PyObject *data) { return (const unsigned char *)PyBytes_AS_STRING(data); }

static inline uint32_t tl_key_at(const unsigned char *memory, Py_ssize_t offset) {
    const unsigned char *key = memory + offset;
    return (uint32_t)key[0] | (uint32_t)key[1] << 8 | (uint32_t)key[2] << 16 | (uint32_t)key[3] << 24;
}

static inline uint64_t tl_pattern(uint32_t key) {
    const unsigned char bytes[8] = {
        (unsigned char)key, (unsigned char)(key >> 8), (unsigned char)(key >> 16), (unsigned char)(key >> 24),
        (unsigned char)key, (unsigned char)(key >> 8), (unsigned char)(key >> 16), (unsigned char)(key >> 24)};
    uint64_t pattern;
    memcpy(&pattern, bytes, 8);
    return pattern;
}

/* The key as it stands `offset` bytes into a payload. */
static inline uint32_t tl_rotate(uint32_t key, Py_ssize_t offset) {
    const unsigned shift = 8u * (unsigned)(offset & 3);
    return shift ? (key >> shift) | (key << (32 - shift)) : key;
}

/* Four words a turn: compilers make vector instructions of it, on x86-64 and on arm64 alike. AVX2, twice as wide, is chosen at
 * run time where the tool chain can (target_clones, resolved once by the loader). */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define TL_CLONES __attribute__((target_clones("avx2", "default")))
#else
#define TL_CLONES
#endif

TL_CLONES static void tl_xor_long(unsigned char *target, const unsigned char *source, size_t n, uint64_t pattern) {
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        uint64_t word[4];
        memcpy(word, source + i, 32);
        word[0] ^= pattern, word[1] ^= pattern, word[2] ^= pattern, word[3] ^= pattern;
        memcpy(target + i, word, 32);
    }
    for (; i < n; i++)
        target[i] = source[i] ^ ((const unsigned char *)&pattern)[i & 7];
}

static inline void tl_xor(unsigned char *target, const unsigned char *source, Py_ssize_t n, uint32_t key) {
    const uint64_t pattern = tl_pattern(key);
    Py_ssize_t i = 0;
    if (key == 0) {
        if (target != source)
            memcpy(target, source, (size_t)n);
        return;
    }
    if (n >= 256) {
        tl_xor_long(target, source, (size_t)n, pattern);
        return;
    }
    for (; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, source + i, 8);
        word ^= pattern;
        memcpy(target + i, &word, 8);
    }
    for (; i < n; i++)
        target[i] = source[i] ^ ((const unsigned char *)&pattern)[i & 7];
}

static inline int tl_is_ascii(const unsigned char *bytes, Py_ssize_t n) {
    uint64_t high = 0, word;
    Py_ssize_t i = 0;
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, bytes + i, 8);
        high |= word;
    }
    for (; i < n; i++)
        high |= bytes[i];
    return (high & 0x8080808080808080ULL) == 0;
}

static inline PyObject *tl_take_binary(const unsigned char *source, Py_ssize_t n, uint32_t key) {
    PyObject *payload = PyBytes_FromStringAndSize(NULL, n);
    if (payload != NULL && n > 0)
        tl_xor((unsigned char *)PyBytes_AS_STRING(payload), source, n, key);
    return payload;
}

/* Most text is ASCII, and unmasked ASCII already is the memory of a str: write it there, and decode only what is not. */
static inline PyObject *tl_take_text(const unsigned char *source, Py_ssize_t n, uint32_t key) {
    PyObject *text, *decoded;
    unsigned char *memory;
    if (n == 0)
        return PyUnicode_New(0, 0);
    text = PyUnicode_New(n, 127);
    if (text == NULL)
        return NULL;
    memory = (unsigned char *)PyUnicode_DATA(text);
    tl_xor(memory, source, n, key);
    if (tl_is_ascii(memory, n))
        return text;
    decoded = PyUnicode_DecodeUTF8((const char *)memory, n, NULL);
    Py_DECREF(text);
    return decoded;
}

/* A frame that arrives in pieces is unmasked straight into the object that the application will get. */
static inline PyObject *tl_payload_new(Py_ssize_t capacity) { return PyBytes_FromStringAndSize(NULL, capacity); }

/* `payload` with room for `capacity` bytes, the first `filled` kept. */
static inline PyObject *tl_payload_grow(PyObject *payload, Py_ssize_t filled, Py_ssize_t capacity) {
    PyObject *grown = PyBytes_FromStringAndSize(NULL, capacity);
    if (grown != NULL)
        memcpy(PyBytes_AS_STRING(grown), PyBytes_AS_STRING(payload), (size_t)filled);
    return grown;
}

static inline void tl_payload_fill(PyObject *payload, Py_ssize_t filled, const unsigned char *source, Py_ssize_t n,
                                   uint32_t key) {
    tl_xor((unsigned char *)PyBytes_AS_STRING(payload) + filled, source, n, tl_rotate(key, filled));
}

static inline int tl_payload_is_ascii(PyObject *payload, Py_ssize_t start, Py_ssize_t end) {
    return tl_is_ascii((const unsigned char *)PyBytes_AS_STRING(payload) + start, end - start);
}

/* Bytes already received into the payload itself: unmask them where they are. */
static inline void tl_payload_unmask(PyObject *payload, Py_ssize_t filled, Py_ssize_t n, uint32_t key) {
    unsigned char *start = (unsigned char *)PyBytes_AS_STRING(payload) + filled;
    tl_xor(start, start, n, tl_rotate(key, filled));
}

/* Header of RFC 6455 section 5.2 with the shortest length that fits; returns its size, 2 to 14 bytes. */
static inline Py_ssize_t tl_write_header(unsigned char *out, unsigned char first, Py_ssize_t n, int masked, uint32_t key) {
    const unsigned char mask_bit = masked ? 0x80 : 0;
    Py_ssize_t size = 2;
    int i;
    out[0] = first;
    if (n < 126) {
        out[1] = (unsigned char)(mask_bit | n);
    } else if (n < 65536) {
        out[1] = mask_bit | 126;
        out[2] = (unsigned char)(n >> 8);
        out[3] = (unsigned char)n;
        size = 4;
    } else {
        out[1] = mask_bit | 127;
        for (i = 0; i < 8; i++)
            out[2 + i] = (unsigned char)((uint64_t)n >> (8 * (7 - i)));
        size = 10;
    }
    if (masked) {
        const uint64_t pattern = tl_pattern(key);
        memcpy(out + size, &pattern, 4);
        size += 4;
    }
    return size;
}

static inline PyObject *tl_header(unsigned char first, Py_ssize_t n) {
    unsigned char header[14];
    return PyBytes_FromStringAndSize((const char *)header, tl_write_header(header, first, n, 0, 0));
}

/* A whole frame of `data`, a bytes or a str. Lone surrogates raise UnicodeEncodeError. */
static inline PyObject *tl_frame(unsigned char first, PyObject *data, int masked, uint32_t key) {
    unsigned char header[14];
    Py_ssize_t n, size;
    const char *source;
    PyObject *frame;
    if (PyUnicode_Check(data)) {
        source = PyUnicode_AsUTF8AndSize(data, &n);
        if (source == NULL)
            return NULL;
    } else if (PyBytes_Check(data)) {
        source = PyBytes_AS_STRING(data);
        n = PyBytes_GET_SIZE(data);
    } else {
        PyErr_SetString(PyExc_TypeError, "a frame is made of bytes or str");
        return NULL;
    }
    size = tl_write_header(header, first, n, masked, key);
    frame = PyBytes_FromStringAndSize(NULL, size + n);
    if (frame == NULL)
        return NULL;
    memcpy(PyBytes_AS_STRING(frame), header, (size_t)size);
    tl_xor((unsigned char *)PyBytes_AS_STRING(frame) + size, (const unsigned char *)source, n, masked ? key : 0);
    return frame;
}
#endif
