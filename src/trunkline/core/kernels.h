/* Leaf operations on raw memory, for the compiled build. kernels.py is their twin in pure Python; tests compare the two.
 *
 * Masking (RFC 6455 section 5.3) is an exclusive or with a repeated 4-byte key. `key` holds the first key byte in its lowest
 * 8 bits, whatever the byte order of the machine. A key of 0 leaves the payload as it is, so unmasked frames need no other path. */
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

/* A vector of the instructions that every machine of its kind has: SSE2 on x86-64, NEON on arm64, else a word of 8 bytes. */
#if defined(__SSE2__) || (defined(_MSC_VER) && defined(_M_X64))
#include <emmintrin.h>
typedef __m128i tl_vector;
#define tl_load(memory) _mm_loadu_si128((const __m128i *)(memory))
#define tl_store(memory, v) _mm_storeu_si128((__m128i *)(memory), v)
#define tl_repeat(pattern) _mm_set1_epi64x((long long)(pattern))
#define tl_vector_xor(a, b) _mm_xor_si128(a, b)
#define tl_vector_or(a, b) _mm_or_si128(a, b)
#define tl_vector_is_ascii(v) (_mm_movemask_epi8(v) == 0)
#elif defined(__aarch64__) && defined(__ARM_NEON)
#include <arm_neon.h>
typedef uint8x16_t tl_vector;
#define tl_load(memory) vld1q_u8(memory)
#define tl_store(memory, v) vst1q_u8(memory, v)
#define tl_repeat(pattern) vreinterpretq_u8_u64(vdupq_n_u64(pattern))
#define tl_vector_xor(a, b) veorq_u8(a, b)
#define tl_vector_or(a, b) vorrq_u8(a, b)
#define tl_vector_is_ascii(v) (vmaxvq_u8(v) < 0x80)
#else
typedef uint64_t tl_vector;
static inline tl_vector tl_load(const unsigned char *memory) {
    tl_vector v;
    memcpy(&v, memory, sizeof v);
    return v;
}
#define tl_store(memory, v) memcpy(memory, &(v), sizeof(tl_vector))
#define tl_repeat(pattern) (pattern)
#define tl_vector_xor(a, b) ((a) ^ (b))
#define tl_vector_or(a, b) ((a) | (b))
#define tl_vector_is_ascii(v) (((v) & 0x8080808080808080ULL) == 0)
#endif

/* target = source, exclusive or `pattern`; returns whether all of it is ASCII, which costs next to nothing on the way. The
 * two may be the same memory. */
static inline int tl_xor_short(unsigned char *target, const unsigned char *source, size_t n, uint64_t pattern) {
    const tl_vector mask = tl_repeat(pattern);
    tl_vector seen = tl_repeat(0), v;
    uint64_t high = 0, word;
    size_t i = 0;
    for (; i + sizeof v <= n; i += sizeof v) {
        v = tl_vector_xor(tl_load(source + i), mask);
        tl_store(target + i, v);
        seen = tl_vector_or(seen, v);
    }
    for (; i + 8 <= n; i += 8) {
        memcpy(&word, source + i, 8);
        word ^= pattern;
        memcpy(target + i, &word, 8);
        high |= word;
    }
    for (; i < n; i++) {
        target[i] = source[i] ^ ((const unsigned char *)&pattern)[i & 7];
        high |= target[i];
    }
    return tl_vector_is_ascii(seen) && (high & 0x8080808080808080ULL) == 0;
}

/* AVX2 takes twice as much at once. Which machines have it is known at run time only. */
#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#include <immintrin.h>
__attribute__((target("avx2"))) static int tl_xor_avx2(
    unsigned char *target, const unsigned char *source, size_t n, uint64_t pattern) {
    const __m256i mask = _mm256_set1_epi64x((long long)pattern);
    __m256i seen = _mm256_setzero_si256(), a, b;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        a = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(source + i)), mask);
        b = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(source + i + 32)), mask);
        _mm256_storeu_si256((__m256i *)(target + i), a);
        _mm256_storeu_si256((__m256i *)(target + i + 32), b);
        seen = _mm256_or_si256(seen, _mm256_or_si256(a, b));
    }
    return (_mm256_movemask_epi8(seen) == 0) & tl_xor_short(target + i, source + i, n - i, pattern);
}

static int tl_xor_long(unsigned char *target, const unsigned char *source, size_t n, uint64_t pattern) {
    static int has_avx2 = -1;
    if (has_avx2 < 0)
        has_avx2 = __builtin_cpu_supports("avx2") != 0;
    return has_avx2 ? tl_xor_avx2(target, source, n, pattern) : tl_xor_short(target, source, n, pattern);
}
#else
#define tl_xor_long tl_xor_short
#endif

/* Unmask or mask; returns whether the result is ASCII. */
static inline int tl_xor(unsigned char *target, const unsigned char *source, Py_ssize_t n, uint32_t key) {
    if (n < 256)
        return tl_xor_short(target, source, (size_t)n, tl_pattern(key));
    return tl_xor_long(target, source, (size_t)n, tl_pattern(key));
}

/* The same where the caller need not know. */
static inline void tl_copy(unsigned char *target, const unsigned char *source, Py_ssize_t n, uint32_t key) {
    if (key != 0)
        tl_xor(target, source, n, key);
    else if (target != source)
        memcpy(target, source, (size_t)n);
}

static inline PyObject *tl_take_binary(const unsigned char *source, Py_ssize_t n, uint32_t key) {
    PyObject *payload = PyBytes_FromStringAndSize(NULL, n);
    if (payload != NULL && n > 0)
        tl_copy((unsigned char *)PyBytes_AS_STRING(payload), source, n, key);
    return payload;
}

/* A str for text that was received into `memory` of one. It stays if it is ASCII, as most text is: then a str has the bytes
 * of UTF-8 in memory. Steals `text`. */
static inline PyObject *tl_text_done(PyObject *text, int is_ascii) {
    PyObject *decoded;
    if (is_ascii)
        return text;
    decoded = PyUnicode_DecodeUTF8((const char *)PyUnicode_DATA(text), PyUnicode_GET_LENGTH(text), NULL);
    Py_DECREF(text);
    return decoded;
}

static inline PyObject *tl_take_text(const unsigned char *source, Py_ssize_t n, uint32_t key) {
    PyObject *text = PyUnicode_New(n, 127);
    if (text == NULL || n == 0)
        return text;
    return tl_text_done(text, tl_xor((unsigned char *)PyUnicode_DATA(text), source, n, key));
}

/* A payload that arrives in pieces is unmasked straight into the object that the application will get: a bytes, or for `text`
 * a str. */
static inline PyObject *tl_payload_new(Py_ssize_t capacity, int text) {
    return text ? PyUnicode_New(capacity, 127) : PyBytes_FromStringAndSize(NULL, capacity);
}

static inline unsigned char *tl_payload_at(PyObject *payload, Py_ssize_t offset) {
    if (PyUnicode_Check(payload))
        return (unsigned char *)PyUnicode_DATA(payload) + offset;
    return (unsigned char *)PyBytes_AS_STRING(payload) + offset;
}

/* `payload` with room for `capacity` bytes, the first `filled` kept. */
static inline PyObject *tl_payload_grow(PyObject *payload, Py_ssize_t filled, Py_ssize_t capacity) {
    PyObject *grown = tl_payload_new(capacity, PyUnicode_Check(payload));
    if (grown != NULL)
        memcpy(tl_payload_at(grown, 0), tl_payload_at(payload, 0), (size_t)filled);
    return grown;
}

/* Returns whether what came is ASCII; so does the next one. */
static inline int tl_payload_fill(PyObject *payload, Py_ssize_t filled, const unsigned char *source, Py_ssize_t n,
                                  uint32_t key) {
    return tl_xor(tl_payload_at(payload, filled), source, n, tl_rotate(key, filled));
}

/* Bytes already received into the payload itself: unmask them where they are. */
static inline int tl_payload_unmask(PyObject *payload, Py_ssize_t filled, Py_ssize_t n, uint32_t key) {
    return tl_payload_fill(payload, filled, tl_payload_at(payload, filled), n, key);
}

static inline PyObject *tl_payload_slice(PyObject *payload, Py_ssize_t start, Py_ssize_t end) {
    return PyBytes_FromStringAndSize((const char *)tl_payload_at(payload, start), end - start);
}

/* The payload, complete: a bytes, or a str. */
static inline PyObject *tl_payload_done(PyObject *payload, int is_ascii) {
    Py_INCREF(payload);
    return PyUnicode_Check(payload) ? tl_text_done(payload, is_ascii) : payload;
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
    tl_copy((unsigned char *)PyBytes_AS_STRING(frame) + size, (const unsigned char *)source, n, masked ? key : 0);
    return frame;
}

/* The last `size` bytes of two strings, or all of them. */
static inline PyObject *tl_last(Py_ssize_t size, PyObject *before, PyObject *after) {
    const Py_ssize_t of_after = Py_MIN(PyBytes_GET_SIZE(after), size);
    const Py_ssize_t of_before = Py_MIN(PyBytes_GET_SIZE(before), size - of_after);
    PyObject *last = PyBytes_FromStringAndSize(NULL, of_before + of_after);
    if (last == NULL)
        return NULL;
    memcpy(PyBytes_AS_STRING(last), PyBytes_AS_STRING(before) + PyBytes_GET_SIZE(before) - of_before, (size_t)of_before);
    memcpy(PyBytes_AS_STRING(last) + of_before, PyBytes_AS_STRING(after) + PyBytes_GET_SIZE(after) - of_after,
           (size_t)of_after);
    return last;
}
#endif
