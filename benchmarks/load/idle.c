/* Idle connections: a run opens AMOUNT more of them, exchanges one message of SIZE bytes on each, and holds them.
 * usage: idle PORT SIZE
 */
#include "wire.h"

#include <poll.h>
#include <stdlib.h>

static void exchange_message(struct stream *stream, const unsigned char *message, size_t length, size_t size)
{
    unsigned char reply[4096];
    size_t have = 0;
    struct frame frame;
    if (stream_write(stream, message, length) != (ssize_t)length)
        fail("a message of %zu bytes did not fit the socket's buffer", size);
    while (!parse_frame(reply, have, &frame)) {
        struct pollfd readable = {.fd = stream->fd, .events = POLLIN};
        poll(&readable, 1, -1);
        ssize_t moved = stream_read(stream, reply + have, sizeof reply - have);
        have += moved > 0 ? moved : 0;
    }
    check_echo(&frame, OPCODE_BINARY, size);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        fail("usage: idle PORT SIZE");
    int port = atoi(argv[1]);
    size_t size = strtoul(argv[2], NULL, 10);
    unsigned char *message = allocate(1, size + MAX_HEADER);
    size_t length = build_frame(message, OPCODE_BINARY, size);
    unsigned opened = 0;
    for (;;) {
        unsigned count = await_run();
        double start = now();
        for (unsigned i = 0; i < count; i++) {
            struct stream stream = open_stream(port, opened++);
            exchange_message(&stream, message, length, size);
        }
        report_done(count, now() - start);
    }
}
