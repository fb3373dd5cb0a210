/* The C side of fastpath.py: it reads the head of an ordinary request, and makes Sec-WebSocket-Accept.
 *
 * An ordinary request is one that clients send. Every line is well-formed, every header that the handshake looks at stands
 * there once, and nothing in it calls for a judgement. For any other the answer here is "no", and Python code decides. */
#ifndef TRUNKLINE_FASTPATH_H
#define TRUNKLINE_FASTPATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A value in the head: where it starts, and its size; a size of 0 means that there is none. */
struct tl_value {
    ptrdiff_t start, size;
};

struct tl_request {
    ptrdiff_t head; /* size of the head, with the empty line that ends it */
    struct tl_value key, origin, extensions, subprotocols;
    unsigned seen; /* the headers that stood there already: each at most once */
};

enum { TL_TOKEN = 1, TL_VALUE = 2, TL_TARGET = 4, TL_BASE64 = 8 };
enum {
    TL_HOST = 1, TL_UPGRADE = 2, TL_CONNECTION = 4, TL_VERSION = 8, TL_KEY = 16,
    TL_ORIGIN = 32, TL_EXTENSIONS = 64, TL_SUBPROTOCOLS = 128,
    TL_REQUIRED = TL_HOST | TL_UPGRADE | TL_CONNECTION | TL_VERSION | TL_KEY
};

static unsigned char tl_kinds[256];

static inline void tl_mark(const char *characters, unsigned char kind) {
    for (; *characters; characters++) tl_kinds[(unsigned char)*characters] |= kind;
}

/* Fill the table of characters; once, before anything else here. */
static inline void tl_learn_characters(void) {
    for (int c = '!'; c <= '~'; c++) tl_kinds[c] |= TL_VALUE;
    tl_mark(" \t", TL_VALUE); /* RFC 9110 section 5.5; text outside ASCII is not ordinary */
    for (const char *c = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"; *c; c++)
        tl_kinds[(unsigned char)*c] |= TL_TOKEN | TL_TARGET | TL_BASE64;
    tl_mark("!#$%&'*+-.^_`|~", TL_TOKEN);           /* RFC 9110 section 5.6.2 */
    tl_mark("-._~!$&'()*+,;=:@/?%[]", TL_TARGET); /* RFC 3986 section 3.3, and brackets, which many leave as they are */
    tl_mark("+/", TL_BASE64);
}

static inline int tl_same(const unsigned char *text, ptrdiff_t size, const char *lower) {
    if (size != (ptrdiff_t)strlen(lower)) return 0;
    for (ptrdiff_t i = 0; i < size; i++) {
        unsigned char c = text[i];
        if (c >= 'A' && c <= 'Z') c |= 32;
        if (c != (unsigned char)lower[i]) return 0;
    }
    return 1;
}

/* 16 bytes in base64 (RFC 6455 section 4.1): the last character before "==" has four bits that are 0. */
static inline int tl_is_key(const unsigned char *text, ptrdiff_t size) {
    if (size != 24 || text[22] != '=' || text[23] != '=') return 0;
    for (int i = 0; i < 22; i++)
        if (!(tl_kinds[text[i]] & TL_BASE64)) return 0;
    return strchr("AQgw", text[21]) != NULL;
}

/* Take note of a header; 0 if it makes the request an unusual one. */
static inline int tl_take_header(const unsigned char *data, struct tl_value name, struct tl_value value, struct tl_request *request) {
    const unsigned char *n = data + name.start, *v = data + value.start;
    unsigned header = 0;
    struct tl_value *place = NULL;
    switch (name.size) {
    case 4:
        if (tl_same(n, 4, "host")) header = TL_HOST;
        break;
    case 6:
        if (tl_same(n, 6, "origin")) header = TL_ORIGIN, place = &request->origin;
        break;
    case 7:
        if (tl_same(n, 7, "upgrade")) {
            header = TL_UPGRADE;
            if (!tl_same(v, value.size, "websocket")) return 0;
        }
        break;
    case 10:
        if (tl_same(n, 10, "connection")) {
            header = TL_CONNECTION;
            if (!tl_same(v, value.size, "upgrade") && !tl_same(v, value.size, "keep-alive, upgrade")) return 0;
        }
        break;
    case 14:
        if (tl_same(n, 14, "content-length")) return 0;
        break;
    case 17:
        if (tl_same(n, 17, "transfer-encoding")) return 0;
        if (tl_same(n, 17, "sec-websocket-key")) {
            header = TL_KEY, place = &request->key;
            if (!tl_is_key(v, value.size)) return 0;
        }
        break;
    case 21:
        if (tl_same(n, 21, "sec-websocket-version")) {
            header = TL_VERSION;
            if (!tl_same(v, value.size, "13")) return 0;
        }
        break;
    case 22:
        if (tl_same(n, 22, "sec-websocket-protocol")) header = TL_SUBPROTOCOLS, place = &request->subprotocols;
        break;
    case 24:
        if (tl_same(n, 24, "sec-websocket-extensions")) header = TL_EXTENSIONS, place = &request->extensions;
        break;
    }
    if (!header) return 1;
    if ((request->seen & header) || value.size == 0) return 0;
    request->seen |= header;
    if (place) *place = value;
    return 1;
}

/* Read a head (RFC 9112 sections 3 and 5); 1 if all of it is there and it is an ordinary request for a WebSocket. */
static inline int tl_read_request(const char *text, ptrdiff_t size, ptrdiff_t longest, int most, struct tl_request *request) {
    const unsigned char *data = (const unsigned char *)text;
    static const char get[] = "GET /", version[] = " HTTP/1.1\r\n";
    const ptrdiff_t version_size = sizeof version - 1;
    ptrdiff_t at = sizeof get - 1;
    memset(request, 0, sizeof *request);
    if (size < at || memcmp(data, get, at)) return 0;
    while (at < size && (tl_kinds[data[at]] & TL_TARGET)) at++;
    if (at + version_size > size || memcmp(data + at, version, version_size)) return 0;
    at += version_size;
    if (at - 2 > longest) return 0;
    while (at + 1 < size && data[at] != '\r') {
        struct tl_value name = {at, 0}, value;
        while (at < size && (tl_kinds[data[at]] & TL_TOKEN)) at++;
        name.size = at - name.start;
        if (name.size == 0 || at >= size || data[at] != ':') return 0;
        for (at++; at < size && (data[at] == ' ' || data[at] == '\t');) at++;
        value.start = at;
        while (at < size && (tl_kinds[data[at]] & TL_VALUE)) at++;
        if (at + 1 >= size || data[at] != '\r' || data[at + 1] != '\n') return 0;
        if (at - name.start > longest || most-- == 0) return 0;
        for (value.size = at - value.start; value.size && (data[value.start + value.size - 1] == ' ' ||
                                                            data[value.start + value.size - 1] == '\t');) value.size--;
        at += 2;
        if (!tl_take_header(data, name, value, request)) return 0;
    }
    if (at + 1 >= size || data[at] != '\r' || data[at + 1] != '\n') return 0;
    at += 2;
    request->head = at;
    /* RFC 6455 section 5.1: a frame of a client is masked; these bytes aren't one, if that bit is missing. */
    if (size - at > 1 && !(data[at + 1] & 0x80)) return 0;
    return (request->seen & TL_REQUIRED) == TL_REQUIRED;
}

static inline uint32_t tl_rotate_left(uint32_t word, int bits) { return word << bits | word >> (32 - bits); }

/* One block of SHA-1 (RFC 3174 section 6.1). */
static inline void tl_sha1_block(uint32_t state[5], const unsigned char *block) {
    static const uint32_t constants[4] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
    uint32_t words[80], a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 16; i++, block += 4)
        words[i] = (uint32_t)block[0] << 24 | (uint32_t)block[1] << 16 | (uint32_t)block[2] << 8 | block[3];
    for (int i = 16; i < 80; i++)
        words[i] = tl_rotate_left(words[i - 3] ^ words[i - 8] ^ words[i - 14] ^ words[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        const uint32_t mixed = i < 20 ? (b & c) | (~b & d) : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d;
        const uint32_t next = tl_rotate_left(a, 5) + mixed + e + constants[i / 20] + words[i];
        e = d, d = c, c = tl_rotate_left(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

/* The 28 characters of Sec-WebSocket-Accept for the 24 of a key (RFC 6455 section 4.2.2), which start at `start`. */
static inline void tl_accept_key(const char *text, ptrdiff_t start, char *accept) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    unsigned char message[128] = {0}, digest[21] = {0};
    memcpy(message, text + start, 24);
    memcpy(message + 24, guid, 36);
    message[60] = 0x80; /* section 4 of RFC 3174: a bit, zeros, and the size in bits: 60 bytes are 480 */
    message[126] = 480 >> 8;
    message[127] = 480 & 0xFF;
    tl_sha1_block(state, message);
    tl_sha1_block(state, message + 64);
    for (int i = 0; i < 20; i++) digest[i] = (unsigned char)(state[i / 4] >> (24 - 8 * (i % 4)));
    for (int i = 0; i < 21; i += 3, accept += 4) {
        const uint32_t bits = (uint32_t)digest[i] << 16 | (uint32_t)digest[i + 1] << 8 | digest[i + 2];
        accept[0] = digits[bits >> 18];
        accept[1] = digits[bits >> 12 & 63];
        accept[2] = digits[bits >> 6 & 63];
        accept[3] = digits[bits & 63];
    }
    accept[-1] = '=';
}

#endif
