/* What every load generator shares: connections, the opening handshake, frames, and the dialogue with the runner.
 *
 * The dialogue, one line each way on standard input and output:
 *
 *     generator: ready
 *     runner:    run AMOUNT           seconds of load, or a number of connections
 *     generator: done {"messages": ..., "seconds": ...}
 *
 * Nothing is in flight outside a run: when `done` is printed, every message that was sent has been answered. The CPU
 * time that the server spends between the two lines is therefore the time of exactly that many messages.
 * A fault ends the generator with a line on standard error and status 1; so does a watchdog, so that nothing hangs.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { OPCODE_TEXT = 1, OPCODE_BINARY = 2, OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };
enum { FIN = 0x80, MASKED = 0x80, MAX_HEADER = 14 };

/* A connection to the server: TCP, or TLS over it. */
struct stream {
    int fd;
    void *tls; /* SSL *, or NULL */
};

/* A frame at the head of a buffer. */
struct frame {
    unsigned char first; /* FIN, RSV1-3 and the opcode */
    const unsigned char *payload;
    size_t size;         /* of the payload */
    size_t length;       /* header and payload */
};

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *allocate(size_t count, size_t size);
double now(void); /* seconds, monotonic */

/* Turns TLS on for every stream opened later. */
void use_tls(void);

/* Opens a TCP connection to 127.0.0.1:port, blocking. Sources rotate over 127.0.0.0/24 with `nth`, because one source
 * address has too few ephemeral ports for many connections to one server. */
int connect_tcp(int port, unsigned nth);

/* The opening handshake's request (RFC 6455 section 4.1); returns its length. */
size_t upgrade_request(char *out, size_t capacity, int port);

/* Connects, shakes hands and leaves the stream non-blocking. */
struct stream open_stream(int port, unsigned nth);

/* Both return the number of bytes moved, or -1 if the stream would block; a lost connection fails. */
ssize_t stream_read(struct stream *stream, void *data, size_t size);
ssize_t stream_write(struct stream *stream, const void *data, size_t size);

/* True if bytes are waiting inside TLS, where epoll does not see them. */
bool stream_pending(const struct stream *stream);

/* Writes a masked frame whose payload is the alphabet, repeated; returns its length. */
size_t build_frame(unsigned char *out, int opcode, size_t size);

/* Reads the frame at the head of `data`; false if it is not complete yet. */
bool parse_frame(const unsigned char *data, size_t length, struct frame *frame);

/* True for the echo of build_frame(opcode, size), false for a ping, which is skipped; anything else fails. */
bool check_echo(const struct frame *frame, int opcode, size_t size);

/* Says `ready` the first time, then waits for the next run. Returns its amount; ends the program if none comes. */
double await_run(void);

/* Latencies in seconds, kept for their percentiles. */
void record_latency(double seconds);

/* Ends a run: reports it, with the latencies recorded during it. */
void report_done(uint64_t messages, double seconds);

#endif
