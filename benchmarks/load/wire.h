/* The common part of all load generators: connections, the opening handshake, frames, and the dialogue with the runner.
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
enum { FIN = 0x80, RSV1 = 0x40, MASKED = 0x80, MAX_HEADER = 14 };

/* A connection to the server: TCP, or TLS over it. */
struct stream {
    int fd;
    void *tls;      /* SSL *, or NULL */
    void *inflater; /* z_stream * with permessage-deflate, or NULL */
};

/* Frames to send, one behind the other, over and over. There is one message, the alphabet repeated; or there are many,
 * of JSON, which differ as the messages of an application do. */
struct bank {
    int count, opcode;
    size_t size;              /* of every message */
    unsigned char *payloads;  /* `count` of them */
    unsigned char *frames;    /* `count` and then `more` of them, so that any stretch of `more` is contiguous */
    size_t *lengths;          /* of `count` frames */
    size_t ring;              /* their sum */
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

/* Takes the last words of the command line: `tls` and `deflate` for every stream opened later, `json` for every bank.
 * `centrifuge` or `socketio` stand for a protocol with rooms: later streams are in one room, and messages go to all. */
void take_options(int count, char **words);

/* True if a protocol with rooms was asked for. */
bool speaks_dialect(void);

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

/* Messages of `size` bytes in masked frames, compressed if the option `deflate` was given. */
struct bank build_bank(int opcode, size_t size, int more);

/* Reads the frame at the head of `data`; false if it is not complete yet. */
bool parse_frame(const unsigned char *data, size_t length, struct frame *frame);

/* True for the echo of message `nth` of the bank, every byte of it, and compressed if that was negotiated. False for a
 * ping, which is skipped; anything else fails. In a protocol with rooms, whether the payload is in it. */
bool check_echo(struct stream *stream, const struct frame *frame, const struct bank *bank, uint64_t nth);

/* Says `ready` the first time, then waits for the next run. Returns its amount; ends the program if none comes. */
double await_run(void);

/* Latencies in seconds, kept for their percentiles. */
void record_latency(double seconds);

/* Ends a run: reports it, with the latencies recorded during it. */
void report_done(uint64_t messages, double seconds);

#endif
