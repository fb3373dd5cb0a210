/* Fan-out: one of CONNECTIONS connections sends a text message of SIZE bytes, all of them receive it, and so on.
 * A delivery counts as a message; the latency is the time until the last receiver has its copy.
 * usage: fanout PORT CONNECTIONS SIZE [tls] [deflate] [json | centrifuge | socketio]
 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct connection {
    struct stream stream;
    unsigned char *in;
    size_t have;
};

static int epoll;
static size_t capacity;
static struct bank bank;
static uint64_t told; /* messages that were sent */
static size_t place;  /* of the next one among the frames of the bank */

static int receive_deliveries(struct connection *connection)
{
    ssize_t moved = stream_read(&connection->stream, connection->in + connection->have, capacity - connection->have);
    if (moved < 0)
        return 0;
    connection->have += moved;
    size_t used = 0;
    int deliveries = 0;
    struct frame frame;
    while (parse_frame(connection->in + used, connection->have - used, &frame)) {
        used += frame.length;
        deliveries += check_echo(&connection->stream, &frame, &bank, told);
    }
    connection->have -= used;
    memmove(connection->in, connection->in + used, connection->have);
    return deliveries;
}

static void deliver_one_message(struct connection *sender, int receivers)
{
    struct epoll_event events[512];
    double start = now();
    size_t length = bank.lengths[told % bank.count];
    if (stream_write(&sender->stream, bank.frames + place, length) != (ssize_t)length)
        fail("a message of %zu bytes did not fit the socket's buffer", bank.size);
    while (receivers > 0) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++)
            receivers -= receive_deliveries(events[i].data.ptr);
    }
    if (receivers < 0)
        fail("a connection received a message twice");
    record_latency(now() - start);
    place = (place + length) % bank.ring;
    told++;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        fail("usage: fanout PORT CONNECTIONS SIZE [tls] [deflate] [json | centrifuge | socketio]");
    int port = atoi(argv[1]), count = atoi(argv[2]);
    take_options(argc - 4, argv + 4);
    bank = build_bank(OPCODE_TEXT, strtoul(argv[3], NULL, 10), 0);
    capacity = bank.size + 256;
    epoll = epoll_create1(0);
    struct connection *connections = allocate(count, sizeof *connections);
    for (int i = 0; i < count; i++) {
        connections[i].stream = open_stream(port, i);
        connections[i].in = allocate(1, capacity);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].stream.fd, &event);
    }
    for (;;) {
        double seconds = await_run(), start = now();
        uint64_t messages = 0;
        while (now() - start < seconds) {
            deliver_one_message(&connections[0], count);
            messages += count;
        }
        report_done(messages, now() - start);
    }
}
