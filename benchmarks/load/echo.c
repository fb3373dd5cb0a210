/* Echo: CONNECTIONS connections, each with DEPTH messages of SIZE bytes in flight.
 * usage: echo PORT CONNECTIONS DEPTH SIZE OPCODE [tls] [deflate] [json]
 */
#include "wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

struct connection {
    struct stream stream;
    unsigned char *in;
    size_t have;
    size_t unsent; /* bytes still to send */
    size_t sent;   /* where they begin among the frames of the bank */
    uint64_t asked, answered; /* messages */
    bool blocked;  /* waiting for EPOLLOUT */
    double *times; /* a ring of the times at which the messages in flight were sent */
    int oldest;
};

static int epoll, depth;
static size_t capacity;
static struct bank bank;

static void watch(struct connection *connection, int operation, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(epoll, operation, connection->stream.fd, &event);
}

static void flush(struct connection *connection)
{
    while (connection->unsent) {
        ssize_t moved = stream_write(&connection->stream, bank.frames + connection->sent, connection->unsent);
        if (moved < 0)
            break;
        connection->unsent -= moved;
        connection->sent = (connection->sent + moved) % bank.ring;
    }
    bool blocked = connection->unsent > 0;
    if (blocked != connection->blocked)
        watch(connection, EPOLL_CTL_MOD, EPOLLIN | (blocked ? EPOLLOUT : 0));
    connection->blocked = blocked;
}

static void send_messages(struct connection *connection, int count)
{
    while (count--)
        connection->unsent += bank.lengths[connection->asked++ % bank.count];
    flush(connection);
}

/* Returns how many echoes arrived, and records how long each of them took. */
static int receive_echoes(struct connection *connection, double time)
{
    ssize_t moved = stream_read(&connection->stream, connection->in + connection->have, capacity - connection->have);
    if (moved < 0)
        return 0;
    connection->have += moved;
    size_t used = 0;
    int echoes = 0;
    struct frame frame;
    while (parse_frame(connection->in + used, connection->have - used, &frame)) {
        used += frame.length;
        if (!check_echo(&connection->stream, &frame, &bank, connection->answered))
            continue;
        connection->answered++;
        echoes++;
        record_latency(time - connection->times[connection->oldest]);
        connection->times[connection->oldest] = time;
        connection->oldest = (connection->oldest + 1) % depth;
    }
    connection->have -= used;
    memmove(connection->in, connection->in + used, connection->have);
    return echoes;
}

static void run(struct connection *connections, int count, double seconds)
{
    struct epoll_event events[512];
    double start = now(), time = start;
    uint64_t messages = 0;
    int in_flight = count * depth;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < depth; k++)
            connections[i].times[k] = time;
        send_messages(&connections[i], depth);
    }
    while (in_flight) {
        int ready = epoll_wait(epoll, events, 512, -1);
        time = now();
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (events[i].events & EPOLLOUT)
                flush(connection);
            if (!(events[i].events & ~EPOLLOUT))
                continue;
            int echoes = 0;
            do
                echoes += receive_echoes(connection, time);
            while (stream_pending(&connection->stream));
            messages += echoes;
            if (time - start >= seconds)
                in_flight -= echoes;
            else if (echoes)
                send_messages(connection, echoes);
        }
    }
    report_done(messages, time - start);
}

int main(int argc, char **argv)
{
    if (argc < 6)
        fail("usage: echo PORT CONNECTIONS DEPTH SIZE OPCODE [tls] [deflate] [json]");
    int port = atoi(argv[1]), count = atoi(argv[2]);
    depth = atoi(argv[3]);
    take_options(argc - 6, argv + 6);
    bank = build_bank(atoi(argv[5]), strtoul(argv[4], NULL, 10), depth + 1);
    capacity = (bank.size + MAX_HEADER) * depth + (1 << 17);
    epoll = epoll_create1(0);
    struct connection *connections = allocate(count, sizeof *connections);
    for (int i = 0; i < count; i++) {
        connections[i].stream = open_stream(port, i);
        connections[i].in = allocate(1, capacity);
        connections[i].times = allocate(depth, sizeof(double));
        watch(&connections[i], EPOLL_CTL_ADD, EPOLLIN);
    }
    for (;;)
        run(connections, count, await_run());
}
