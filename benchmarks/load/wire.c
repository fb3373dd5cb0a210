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

enum { WATCHDOG = 120 /* seconds */, MAX_LATENCIES = 1 << 20, SOURCES = 100 };

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

void use_tls(void)
{
    tls_context = SSL_CTX_new(TLS_client_method());
    if (!tls_context)
        fail("OpenSSL: no context for TLS clients");
    SSL_CTX_set_mode(tls_context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
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
                    "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                    port);
}

struct stream open_stream(int port, unsigned nth)
{
    struct stream stream = {.fd = connect_tcp(port, nth)};
    stream.tls = start_tls(stream.fd);
    char request[512], response[4096];
    size_t size = upgrade_request(request, sizeof request, port), have = 0;
    if (stream_write(&stream, request, size) != (ssize_t)size)
        fail("the upgrade request was not sent");
    /* One byte at a time: what follows the response belongs to the frames. */
    while (have < 4 || memcmp(response + have - 4, "\r\n\r\n", 4)) {
        if (have == sizeof response)
            fail("the upgrade response is longer than %zu bytes", have);
        have += stream_read(&stream, response + have, 1);
    }
    if (memcmp(response, "HTTP/1.1 101 ", 13))
        fail("upgrade refused: %.60s", response);
    fcntl(stream.fd, F_SETFL, O_NONBLOCK);
    return stream;
}

/* Frames */

size_t build_frame(unsigned char *out, int opcode, size_t size)
{
    size_t header = 0;
    out[header++] = FIN | opcode;
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
        out[header + i] = ('a' + i % 26) ^ MASK[i % 4];
    return header + size;
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

bool check_echo(const struct frame *frame, int opcode, size_t size)
{
    if (frame->first == (FIN | OPCODE_PING))
        return false;
    if (frame->first != (FIN | opcode) || frame->size != size)
        fail("expected %zu bytes after 0x%02x, got %zu bytes after 0x%02x", size, FIN | opcode, frame->size,
             frame->first);
    if (frame->payload[0] != 'a' || frame->payload[size - 1] != 'a' + (size - 1) % 26)
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
