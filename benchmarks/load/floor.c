/* The floor: an epoll WebSocket echo server that does only what it must. One recv and one send for each time a
 * connection becomes readable, unmasking on the way from one buffer to the other. No checks, no limits, no fragments.
 * With `broadcast` every message goes to all connections instead, in one send each.
 * usage: floor [broadcast]        prints `listening PORT`; ends when standard input does
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { IN_SIZE = 1 << 18, OUT_SIZE = 1 << 25, HEAD_ROOM = 1 << 16, SPARES = 1024 };
enum { OPCODE_CLOSE = 8, OPCODE_PING = 9, OPCODE_PONG = 10 };

struct connection {
    int fd;
    bool upgraded, closing;
    unsigned char *in;
    size_t have, capacity;
    unsigned char *out; /* while the socket's buffer is full: what it did not take */
    size_t sent, unsent;
    struct connection *next, **link; /* the others; the pointer that points here */
};

static int epoll;
static bool broadcasting;
static struct connection *connections;
static unsigned char *spare[SPARES]; /* output buffers that no connection holds */
static int spares;

static unsigned char *take_buffer(void) { return spares ? spare[--spares] : malloc(OUT_SIZE); }
static void give_buffer(unsigned char *buffer)
{
    if (spares < SPARES)
        spare[spares++] = buffer;
    else
        free(buffer);
}

static void watch(struct connection *connection, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(epoll, operation, fd, &event);
}

static void drop(struct connection *connection)
{
    close(connection->fd);
    *connection->link = connection->next;
    if (connection->next)
        connection->next->link = connection->link;
    if (connection->out)
        give_buffer(connection->out);
    free(connection->in);
    free(connection);
}

static void accept_all(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *connection = calloc(1, sizeof *connection);
        *connection = (struct connection){
            .fd = fd, .in = malloc(IN_SIZE), .capacity = IN_SIZE, .next = connections, .link = &connections};
        if (connections)
            connections->link = &connection->next;
        connections = connection;
        watch(connection, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
}

/* The opening handshake, as far as a client needs it: Sec-WebSocket-Accept (RFC 6455 section 4.2.2). */
static bool upgrade(struct connection *connection)
{
    static const char name[] = "\r\nsec-websocket-key:", guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    connection->in[connection->have] = 0;
    char *head = (char *)connection->in, *key = strcasestr(head, name);
    if (!key)
        return false;
    key += sizeof name - 1;
    key += strspn(key, " ");
    char concatenated[128], accept[64], response[256];
    unsigned char digest[SHA_DIGEST_LENGTH];
    int length = snprintf(concatenated, sizeof concatenated, "%.24s%s", key, guid);
    SHA1((unsigned char *)concatenated, length, digest);
    EVP_EncodeBlock((unsigned char *)accept, digest, sizeof digest);
    length = snprintf(response, sizeof response,
                      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Accept: %s\r\n\r\n",
                      accept);
    connection->upgraded = true;
    connection->have = 0;
    return send(connection->fd, response, length, MSG_NOSIGNAL) == length;
}

static size_t write_header(unsigned char *out, unsigned char first, size_t size)
{
    size_t header = 0;
    out[header++] = first;
    if (size < 126) {
        out[header++] = size;
        return header;
    }
    int bytes = size < 65536 ? 2 : 8;
    out[header++] = bytes == 2 ? 126 : 127;
    for (int i = bytes - 1; i >= 0; i--)
        out[header++] = (uint64_t)size >> (8 * i);
    return header;
}

static void unmask(unsigned char *restrict out, const unsigned char *restrict in, size_t size,
                   const unsigned char *mask)
{
    uint32_t key;
    memcpy(&key, mask, sizeof key);
    uint64_t wide = (uint64_t)key << 32 | key;
    size_t i = 0;
    for (; i + 8 <= size; i += 8) {
        uint64_t word;
        memcpy(&word, in + i, 8);
        word ^= wide;
        memcpy(out + i, &word, 8);
    }
    for (; i < size; i++)
        out[i] = in[i] ^ mask[i % 4];
}

/* Moves the frame at the head of `in` to `out`. Returns its length, or 0 if it is not complete, with `needed` set. */
static size_t echo_frame(struct connection *connection, const unsigned char *in, size_t have, unsigned char *out,
                         size_t *written, size_t *needed)
{
    size_t header = 2;
    *needed = header;
    if (have < header)
        return 0;
    size_t size = in[1] & 127;
    if (size >= 126) {
        header += size == 126 ? 2 : 8;
        *needed = header;
        if (have < header)
            return 0;
        size = 0;
        for (size_t i = 2; i < header; i++)
            size = size << 8 | in[i];
    }
    *needed = header + 4 + size;
    if (have < *needed)
        return 0;
    unsigned char first = in[0], opcode = first & 15;
    if (opcode == OPCODE_PING)
        first = (first & 0xF0) | OPCODE_PONG;
    connection->closing |= opcode == OPCODE_CLOSE;
    size_t start = write_header(out, first, size);
    unmask(out + start, in + header + 4, size, in + header);
    *written = start + size;
    return *needed;
}

/* Echoes every complete frame into `out`; keeps the rest and makes room for it. Returns the bytes written. */
static size_t echo_frames(struct connection *connection, unsigned char *out)
{
    size_t used = 0, total = 0, length, written, needed;
    for (;;) {
        length = echo_frame(connection, connection->in + used, connection->have - used, out + total, &written, &needed);
        if (!length)
            break;
        used += length;
        total += written;
    }
    connection->have -= used;
    memmove(connection->in, connection->in + used, connection->have);
    if (needed + HEAD_ROOM > connection->capacity) {
        connection->capacity = needed + HEAD_ROOM;
        connection->in = realloc(connection->in, connection->capacity);
    }
    return total;
}

/* Returns false if the connection is lost. `sent` and `unsent` tell how far it came. */
static bool send_some(struct connection *connection, const unsigned char *out)
{
    while (connection->unsent) {
        ssize_t moved = send(connection->fd, out + connection->sent, connection->unsent, MSG_NOSIGNAL);
        if (moved < 0)
            return errno == EAGAIN;
        connection->sent += moved;
        connection->unsent -= moved;
    }
    return true;
}

/* The load keeps no more in flight than a socket's buffer holds. */
static bool send_to_all(const unsigned char *out, size_t size)
{
    for (struct connection *connection = connections; connection; connection = connection->next)
        if (connection->upgraded && send(connection->fd, out, size, MSG_NOSIGNAL) != (ssize_t)size)
            return false;
    return true;
}

static bool serve_readable(struct connection *connection)
{
    size_t room = connection->capacity - connection->have - 1; /* for the zero that upgrade() adds */
    ssize_t moved = recv(connection->fd, connection->in + connection->have, room, 0);
    if (moved <= 0)
        return moved < 0 && errno == EAGAIN;
    connection->have += moved;
    if (!connection->upgraded)
        return !memmem(connection->in, connection->have, "\r\n\r\n", 4) || upgrade(connection);
    unsigned char *out = take_buffer();
    connection->sent = 0;
    connection->unsent = echo_frames(connection, out);
    if (broadcasting && !connection->closing) {
        bool taken = send_to_all(out, connection->unsent);
        give_buffer(out);
        return taken;
    }
    bool alive = send_some(connection, out);
    if (connection->unsent && alive) {
        connection->out = out;
        watch(connection, EPOLL_CTL_MOD, connection->fd, EPOLLOUT);
        return true;
    }
    give_buffer(out);
    return alive && !connection->closing;
}

static bool serve_writable(struct connection *connection)
{
    if (!send_some(connection, connection->out))
        return false;
    if (connection->unsent)
        return true;
    give_buffer(connection->out);
    connection->out = NULL;
    watch(connection, EPOLL_CTL_MOD, connection->fd, EPOLLIN);
    return !connection->closing;
}

static int listen_anywhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) {
        perror("listen on 127.0.0.1");
        exit(1);
    }
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("listening %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv)
{
    broadcasting = argc > 1 && !strcmp(argv[1], "broadcast");
    static struct connection listening, input; /* only their addresses matter */
    struct epoll_event events[512];
    int listener = listen_anywhere();
    epoll = epoll_create1(0);
    watch(&listening, EPOLL_CTL_ADD, listener, EPOLLIN);
    watch(&input, EPOLL_CTL_ADD, STDIN_FILENO, EPOLLIN);
    for (;;) {
        int ready = epoll_wait(epoll, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (connection == &input)
                return 0;
            if (connection == &listening)
                accept_all(listener);
            else if (!(connection->out ? serve_writable(connection) : serve_readable(connection)))
                drop(connection);
        }
    }
}
