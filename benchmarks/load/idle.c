/* Idle connections: a run opens AMOUNT more of them, exchanges one message of SIZE bytes on each, and holds them.
 * In a protocol with rooms, being greeted is exchange enough.
 * usage: idle PORT SIZE [tls] [deflate] [json | centrifuge | socketio]
 */
#include "wire.h"

#include <poll.h>
#include <stdlib.h>

static void exchange_message(struct stream *stream, const struct bank *bank)
{
    unsigned char reply[4096];
    size_t have = 0;
    struct frame frame;
    if (stream_write(stream, bank->frames, bank->lengths[0]) != (ssize_t)bank->lengths[0])
        fail("a message of %zu bytes did not fit the socket's buffer", bank->size);
    while (!parse_frame(reply, have, &frame)) {
        struct pollfd readable = {.fd = stream->fd, .events = POLLIN};
        if (!stream_pending(stream))
            poll(&readable, 1, -1);
        ssize_t moved = stream_read(stream, reply + have, sizeof reply - have);
        have += moved > 0 ? moved : 0;
    }
    check_echo(stream, &frame, bank, 0);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        fail("usage: idle PORT SIZE [tls] [deflate] [json | centrifuge | socketio]");
    int port = atoi(argv[1]);
    take_options(argc - 3, argv + 3);
    struct bank bank = build_bank(OPCODE_BINARY, strtoul(argv[2], NULL, 10), 0);
    unsigned opened = 0;
    for (;;) {
        unsigned count = await_run();
        double start = now();
        for (unsigned i = 0; i < count; i++) {
            struct stream stream = open_stream(port, opened++);
            if (!speaks_dialect())
                exchange_message(&stream, &bank);
        }
        report_done(count, now() - start);
    }
}
