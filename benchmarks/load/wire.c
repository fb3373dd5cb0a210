#define _GNU_SOURCE
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { WATCHDOG = 120 /* seconds */, MAX_LATENCIES = 1 << 20, SOURCES = 100, JSON_MESSAGES = 64 };

static const unsigned char MASK[4] = {0x12, 0x34, 0x56, 0x78};

void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        fail("out of memory: %zu x %zu bytes", count, size);
    return memory;
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

/* Streams */

static SSL_CTX *tls_context;
static bool deflating, json;

/* The bytes around payloads in a protocol with rooms, and the opening dialogue. All streams are in one room. */
static const struct dialect {
    const char *name, *path;
    const char *greeting[3]; /* each is said when its answer, or before the first one nothing, has come */
    const char *answers[3];  /* how the answers begin */
    const char *before, *after;
} dialects[] = {
    {"centrifuge",
     "/connection/websocket",
     {"{\"id\":1,\"connect\":{}}", "{\"id\":2,\"subscribe\":{\"channel\":\"room\"}}"},
     {"{\"id\":1,\"connect\":", "{\"id\":2,\"subscribe\":"},
     "{\"id\":3,\"publish\":{\"channel\":\"room\",\"data\":\"",
     "\"}}"},
    {"socketio", "/socket.io/?EIO=4&transport=websocket", {"", "40"}, {"0{", "40{"}, "42[\"say\",\"", "\"]"},
}, *dialect;

bool speaks_dialect(void) { return dialect != NULL; }

static const struct dialect *find_dialect(const char *word)
{
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (!strcmp(word, dialects[i].name))
            return &dialects[i];
    return NULL;
}

static void use_tls(void)
{
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context)
        fail("OpenSSL: no context for TLS clients");
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

void take_options(int count, char **words)
{
    for (int i = 0; i < count; i++) {
        if (!strcmp(words[i], "tls"))
            use_tls();
        else if (!strcmp(words[i], "deflate"))
            deflating = json = true;
        else if (!strcmp(words[i], "json"))
            json = true;
        else if (!(dialect = find_dialect(words[i])))
            fail("unknown option %s", words[i]);
    }
}

static SSL *start_tls(int fd)
{
    if (!tls_context)
        return NULL;
    SSL *tls = SSL_new(tls_context);
    if (!tls || !SSL_set_fd(tls, fd) || SSL_connect(tls) != 1)
        fail("TLS handshake failed: %s", ERR_reason_error_string(ERR_get_error()));
    return tls;
}

/* Returns -1 if TLS waits for the socket; fails if the connection is lost. */
static ssize_t tls_moved(SSL *tls, int moved)
{
    if (moved > 0)
        return moved;
    int error = SSL_get_error(tls, moved);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
        fail("TLS connection lost (SSL_get_error %d)", error);
    return -1;
}

static ssize_t tcp_moved(ssize_t moved, const char *call)
{
    if (moved >= 0)
        return moved;
    if (errno == EAGAIN)
        return -1;
    fail("%s: %s", call, strerror(errno));
}

ssize_t stream_read(struct stream *stream, void *data, size_t size)
{
    ssize_t moved = stream->tls ? tls_moved(stream->tls, SSL_read(stream->tls, data, size))
                                : tcp_moved(recv(stream->fd, data, size, 0), "recv");
    if (moved == 0)
        fail("the server closed a connection");
    return moved;
}

ssize_t stream_write(struct stream *stream, const void *data, size_t size)
{
    return stream->tls ? tls_moved(stream->tls, SSL_write(stream->tls, data, size))
                       : tcp_moved(send(stream->fd, data, size, MSG_NOSIGNAL), "send");
}

bool stream_pending(const struct stream *stream) { return stream->tls && SSL_pending(stream->tls); }

int connect_tcp(int port, unsigned nth)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (fd < 0)
        fail("socket: %s (raise `ulimit -n`?)", strerror(errno));
    struct sockaddr_in source = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + nth % SOURCES)};
    struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* The port is chosen by connect(), when the kernel knows that only the whole 4-tuple has to be unique. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&source, sizeof source))
        fail("bind: %s", strerror(errno));
    if (connect(fd, (struct sockaddr *)&server, sizeof server))
        fail("connect to 127.0.0.1:%d: %s", port, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

size_t upgrade_request(char *out, size_t capacity, int port)
{
    return snprintf(out, capacity,
                    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n",
                    dialect ? dialect->path : "/", port, deflating ? "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" : "");
}

/* The server must agree to the offer of browsers: all servers are to do the same work. */
static z_stream *start_inflating(const char *response)
{
    if (!deflating)
        return NULL;
    if (!strcasestr(response, "\r\nSec-WebSocket-Extensions: permessage-deflate"))
        fail("the server did not agree on permessage-deflate");
    z_stream *inflater = allocate(1, sizeof *inflater);
    if (inflateInit2(inflater, -15) != Z_OK)
        fail("zlib: no inflater");
    return inflater;
}

static void write_text(struct stream *stream, const char *text);
static void await_text(struct stream *stream, const char *beginning);

static void greet(struct stream *stream)
{
    for (int i = 0; dialect && dialect->greeting[i]; i++) {
        if (*dialect->greeting[i])
            write_text(stream, dialect->greeting[i]);
        await_text(stream, dialect->answers[i]);
    }
}

struct stream open_stream(int port, unsigned nth)
{
    struct stream stream = {.fd = connect_tcp(port, nth)};
    stream.tls = start_tls(stream.fd);
    char request[512], response[4097];
    size_t size = upgrade_request(request, sizeof request, port), have = 0;
    if (stream_write(&stream, request, size) != (ssize_t)size)
        fail("the upgrade request was not sent");
    /* One byte at a time: what follows the response belongs to the frames. */
    while (have < 4 || memcmp(response + have - 4, "\r\n\r\n", 4)) {
        if (have == sizeof response - 1)
            fail("the upgrade response is longer than %zu bytes", have);
        have += stream_read(&stream, response + have, 1);
    }
    if (memcmp(response, "HTTP/1.1 101 ", 13))
        fail("upgrade refused: %.60s", response);
    response[have] = 0;
    stream.inflater = start_inflating(response);
    greet(&stream);
    fcntl(stream.fd, F_SETFL, O_NONBLOCK);
    return stream;
}

/* Messages */

/* A message as a program would send it: most of it the same every time, and some of it not. */
static void write_json(char *out, size_t size, unsigned nth)
{
    static const char *words[] = {"limit", "market", "open", "filled", "amsterdam", "osaka", "nairobi", "lima"};
    uint32_t random = nth * 2654435761u + 12345;
    size_t have = snprintf(out, size + 1, "{\"type\":\"trade\",\"sequence\":%u,\"items\":[", 100000 + nth);
    while (have < size) {
        random = random * 1664525u + 1013904223u;
        have += snprintf(out + have, size + 1 - have, "{\"id\":\"%08x\",\"kind\":\"%s\",\"place\":\"%s\",\"price\":%u.%02u},",
                         random, words[random >> 29], words[random >> 20 & 7], random >> 16 & 4095, random >> 8 & 63);
    }
}

static void write_payload(unsigned char *out, size_t size, unsigned nth)
{
    if (json) {
        char text[size + 1];
        write_json(text, size, nth);
        memcpy(out, text, size);
    } else {
        for (size_t i = 0; i < size; i++)
            out[i] = 'a' + i % 26;
    }
}

/* Compressed without reference to other messages (RFC 7692 section 7.2.1); returns the length. */
static size_t deflate_payload(unsigned char *out, size_t capacity, const unsigned char *payload, size_t size)
{
    z_stream deflater = {.next_in = (unsigned char *)payload, .avail_in = size, .next_out = out, .avail_out = capacity};
    if (deflateInit2(&deflater, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
        deflate(&deflater, Z_SYNC_FLUSH) != Z_OK || deflater.avail_out == 0)
        fail("zlib: a message could not be compressed");
    size_t length = capacity - deflater.avail_out - 4; /* without the empty block of a flush */
    deflateEnd(&deflater);
    return length;
}

static size_t write_frame(unsigned char *out, int first, const unsigned char *payload, size_t size)
{
    size_t header = 0;
    out[header++] = first;
    if (size < 126) {
        out[header++] = MASKED | size;
    } else {
        int bytes = size < 65536 ? 2 : 8;
        out[header++] = MASKED | (bytes == 2 ? 126 : 127);
        for (int i = bytes - 1; i >= 0; i--)
            out[header++] = (uint64_t)size >> (8 * i);
    }
    memcpy(out + header, MASK, sizeof MASK);
    header += sizeof MASK;
    for (size_t i = 0; i < size; i++)
        out[header + i] = payload[i] ^ MASK[i % 4];
    return header + size;
}

static void write_text(struct stream *stream, const char *text)
{
    unsigned char frame[256];
    size_t length = write_frame(frame, FIN | OPCODE_TEXT, (const unsigned char *)text, strlen(text));
    if (stream_write(stream, frame, length) != (ssize_t)length)
        fail("a greeting was not sent");
}

/* The stream is blocking, and who greets gets nothing else. */
static void await_text(struct stream *stream, const char *beginning)
{
    unsigned char data[2048];
    size_t have = 0;
    struct frame frame;
    do {
        if (have == sizeof data)
            fail("the answer to a greeting is longer than %zu bytes", have);
        have += stream_read(stream, data + have, 1);
    } while (!parse_frame(data, have, &frame));
    if (frame.size < strlen(beginning) || memcmp(frame.payload, beginning, strlen(beginning)))
        fail("the answer to a greeting is %.*s", (int)frame.size, (const char *)frame.payload);
}

/* A payload with what the dialect puts around it. */
static size_t write_message(unsigned char *out, const unsigned char *payload, size_t size)
{
    size_t before = dialect ? strlen(dialect->before) : 0, after = dialect ? strlen(dialect->after) : 0;
    memcpy(out, dialect ? dialect->before : "", before);
    memcpy(out + before, payload, size);
    memcpy(out + before + size, dialect ? dialect->after : "", after);
    return before + size + after;
}

struct bank build_bank(int opcode, size_t size, int more)
{
    struct bank bank = {.count = json ? JSON_MESSAGES : 1, .opcode = opcode, .size = size};
    size_t room = size + MAX_HEADER + 64; /* more than the worst that deflate does to a message of this kind */
    unsigned char *compressed = allocate(1, room), *end;
    bank.payloads = allocate(bank.count, size);
    bank.lengths = allocate(bank.count, sizeof *bank.lengths);
    end = bank.frames = allocate(bank.count + more, room);
    for (int i = 0; i < bank.count + more; i++) {
        unsigned char *payload = bank.payloads + i % bank.count * size;
        size_t length;
        write_payload(payload, size, i % bank.count);
        if (deflating)
            length = write_frame(end, FIN | RSV1 | opcode, compressed, deflate_payload(compressed, room, payload, size));
        else
            length = write_frame(end, FIN | opcode, compressed, write_message(compressed, payload, size));
        bank.lengths[i % bank.count] = length;
        bank.ring += i < bank.count ? length : 0;
        end += length;
    }
    free(compressed);
    return bank;
}

bool parse_frame(const unsigned char *data, size_t length, struct frame *frame)
{
    if (length < 2)
        return false;
    size_t size = data[1] & 127, header = 2;
    if (size >= 126) {
        size_t bytes = size == 126 ? 2 : 8;
        header += bytes;
        if (length < header)
            return false;
        size = 0;
        for (size_t i = 2; i < header; i++)
            size = size << 8 | data[i];
    }
    *frame = (struct frame){data[0], data + header, size, header + size};
    return length >= frame->length;
}

/* The message of a compressed frame; it is overwritten by the next one. */
static const unsigned char *inflate_payload(z_stream *inflater, const struct frame *frame, size_t size)
{
    static unsigned char *out;
    static size_t capacity;
    static unsigned char tail[] = {0, 0, 0xFF, 0xFF};
    if (capacity < size + 1)
        out = realloc(out, capacity = size + 1);
    inflater->next_out = out;
    inflater->avail_out = capacity; /* one byte more than there should be */
    inflater->next_in = (unsigned char *)frame->payload;
    inflater->avail_in = frame->size;
    int status = inflate(inflater, Z_SYNC_FLUSH);
    inflater->next_in = tail;
    inflater->avail_in = sizeof tail;
    if ((status != Z_OK && status != Z_BUF_ERROR) || inflate(inflater, Z_SYNC_FLUSH) != Z_OK || inflater->avail_out != 1)
        fail("%zu compressed bytes do not hold a message of %zu bytes", frame->size, size);
    return out;
}

bool check_echo(struct stream *stream, const struct frame *frame, const struct bank *bank, uint64_t nth)
{
    if (frame->first == (FIN | OPCODE_PING))
        return false;
    if (dialect)  /* others say it in their own words; a frame without it is an answer to who said it */
        return memmem(frame->payload, frame->size, bank->payloads, bank->size) != NULL;
    int first = FIN | bank->opcode | (stream->inflater ? RSV1 : 0);
    if (frame->first != first || (!stream->inflater && frame->size != bank->size))
        fail("expected %zu bytes after 0x%02x, got %zu bytes after 0x%02x", bank->size, first, frame->size, frame->first);
    const unsigned char *payload =
        stream->inflater ? inflate_payload(stream->inflater, frame, bank->size) : frame->payload;
    if (memcmp(payload, bank->payloads + nth % bank->count * bank->size, bank->size))
        fail("the payload is not the one that was sent");
    return true;
}

/* The dialogue with the runner */

static float latencies[MAX_LATENCIES];
static size_t latency_count;

double await_run(void)
{
    static bool said_ready;
    char line[64];
    double amount;
    alarm(0);
    if (!said_ready) {
        puts("ready");
        fflush(stdout);
        said_ready = true;
    }
    if (!fgets(line, sizeof line, stdin))
        exit(0);
    if (sscanf(line, "run %lf", &amount) != 1)
        fail("expected `run AMOUNT`, got: %s", line);
    alarm(WATCHDOG);
    latency_count = 0;
    return amount;
}

void record_latency(double seconds)
{
    if (latency_count < MAX_LATENCIES)
        latencies[latency_count++] = seconds;
}

static int compare_floats(const void *left, const void *right)
{
    float a = *(const float *)left, b = *(const float *)right;
    return (a > b) - (a < b);
}

static double percentile_us(double fraction)
{
    return latency_count ? latencies[(size_t)(latency_count * fraction)] * 1e6 : 0;
}

void report_done(uint64_t messages, double seconds)
{
    qsort(latencies, latency_count, sizeof *latencies, compare_floats);
    printf("done {\"messages\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)messages, seconds, percentile_us(.5), percentile_us(.99));
    fflush(stdout);
}

__attribute__((constructor)) static void start_watchdog(void) { alarm(WATCHDOG); }
