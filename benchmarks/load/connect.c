/* Connection set-up: CONCURRENCY clients at a time each connect, shake hands, exchange one message of SIZE bytes and
 * close. They wait until the server has closed TCP (RFC 6455 section 7.1.1: the server closes first). A life counts as
 * a message.
 * usage: connect PORT CONCURRENCY SIZE
 */
#define _GNU_SOURCE
#include "wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum stage { UPGRADING, ECHOING, CLOSING };

struct client {
    int fd;
    enum stage stage;
    char in[4096];
    size_t have;
    double born;
};

static int epoll, port;
static unsigned births;
static size_t request_length;
static char request[512];
static struct bank bank;
static const unsigned char CLOSE_FRAME[] = {0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8}; /* 1000, masked with zeros */

static void send_all(struct client *client, const void *data, size_t length)
{
    if (send(client->fd, data, length, MSG_NOSIGNAL) != (ssize_t)length)
        fail("send: %s", strerror(errno));
}

static void begin(struct client *client)
{
    client->born = now();
    client->fd = connect_tcp(port, births++);
    client->stage = UPGRADING;
    client->have = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event);
    send_all(client, request, request_length);
}

static void upgraded(struct client *client)
{
    if (!memmem(client->in, client->have, "\r\n\r\n", 4))
        return;
    if (memcmp(client->in, "HTTP/1.1 101 ", 13))
        fail("upgrade refused: %.60s", client->in);
    client->have = 0;
    client->stage = ECHOING;
    send_all(client, bank.frames, bank.lengths[0]);
}

static void echoed(struct client *client)
{
    struct frame frame;
    if (!parse_frame((unsigned char *)client->in, client->have, &frame))
        return;
    check_echo(&(struct stream){.fd = client->fd}, &frame, &bank, 0);
    client->have = 0;
    client->stage = CLOSING;
    send_all(client, CLOSE_FRAME, sizeof CLOSE_FRAME);
}

/* Returns true when the client's life is over. */
static bool receive(struct client *client)
{
    ssize_t moved = recv(client->fd, client->in + client->have, sizeof client->in - client->have, MSG_DONTWAIT);
    if (moved < 0 && errno == EAGAIN)
        return false;
    if (moved < 0)
        fail("recv: %s", strerror(errno));
    if (moved == 0) {
        if (client->stage != CLOSING || client->have == 0 || (client->in[0] & 15) != OPCODE_CLOSE)
            fail("the server closed a connection without a closing handshake");
        close(client->fd);
        record_latency(now() - client->born);
        return true;
    }
    client->have += moved;
    if (client->stage == UPGRADING)
        upgraded(client);
    else if (client->stage == ECHOING)
        echoed(client);
    return false;
}

static void run(struct client *clients, int concurrency, double seconds)
{
    struct epoll_event events[64];
    double start = now();
    uint64_t lives = 0;
    for (int i = 0; i < concurrency; i++)
        begin(&clients[i]);
    for (int alive = concurrency; alive;) {
        int ready = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            if (!receive(events[i].data.ptr))
                continue;
            lives++;
            if (now() - start < seconds)
                begin(events[i].data.ptr);
            else
                alive--;
        }
    }
    report_done(lives, now() - start);
}

int main(int argc, char **argv)
{
    if (argc != 4)
        fail("usage: connect PORT CONCURRENCY SIZE");
    port = atoi(argv[1]);
    int concurrency = atoi(argv[2]);
    request_length = upgrade_request(request, sizeof request, port);
    bank = build_bank(OPCODE_BINARY, strtoul(argv[3], NULL, 10), 0);
    epoll = epoll_create1(0);
    struct client *clients = allocate(concurrency, sizeof *clients);
    for (;;)
        run(clients, concurrency, await_run());
}
