/* The framing of ICE-TCP (RFC 4571), as it comes out of a socket: any bytes in any pieces, a worker
 * whose mailbox is full at times, a binding in the middle, frames of our own on the way out.
 *
 * What is delivered is what the bytes say, frame by frame, in order and nothing twice; a stranger
 * gives nothing but STUN, of which only so many; a connection that is not cut off holds at most one
 * unfinished frame back. */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

#include "net/tcp.c" /* its thread's functions are called one by one */

enum { CONNECTIONS = 2, OWNER = 0, MOST_OUT = 600 };

static struct {
    const uint8_t *data; /* all that was written so far, and how far it is delivered */
    size_t fed, at;
    uint32_t frames; /* of a stranger */
    int busy;        /* so many deliveries are refused */
    int bound;
} seen;

static int deliver(void *arg, int worker, const rf_path *path, const uint8_t *data, size_t len) {
    (void)arg;
    CHECK(worker >= 0 && worker < 2 && path->connection);
    if (seen.busy) {
        seen.busy--;
        return RF_EFULL;
    }
    while (seen.data[seen.at] == 0 && seen.data[seen.at + 1] == 0) {
        seen.at += RF_FRAME_HEAD;
        seen.frames += !seen.bound;
    }
    size_t told = (size_t)seen.data[seen.at] << 8 | seen.data[seen.at + 1];
    CHECK(len == told && len <= RF_MAX_DATAGRAM);
    CHECK(seen.at + RF_FRAME_HEAD + len <= seen.fed);
    CHECK(memcmp(data, seen.data + seen.at + RF_FRAME_HEAD, len) == 0);
    CHECK(seen.bound || (len >= 20 && data[0] < 4 && seen.frames < RF_TCP_STRANGER_FRAMES));
    seen.at += RF_FRAME_HEAD + len;
    seen.frames += !seen.bound;
    return RF_OK;
}

static rf_tcp *open_once(void) {
    static rf_tcp *t;
    uint16_t port;
    rf_tcp_setup setup = {.connections = CONNECTIONS, .workers = 2, .deliver = deliver};
    memcpy(setup.bind_ip, rf_v4_mapped, sizeof rf_v4_mapped);
    setup.bind_ip[12] = 127;
    setup.bind_ip[15] = 1;
    if (!t)
        CHECK(rf_tcp_open(&setup, &t, &port) == RF_OK);
    return t;
}

/* Frames of ours go out whole and in order: each is filled with its own length's low byte. */
static void send_some(rf_tcp *t, rf_leg *c, int peer, size_t len) {
    uint8_t out[MOST_OUT], in[RF_FRAME_HEAD + MOST_OUT];
    memset(out, (int)(len & 0xff), len);
    if (rf_tcp_send(t, c->path.connection, out, len) != RF_OK)
        return;
    serve_dirty(t);
    ssize_t n = recv(peer, in, sizeof in, MSG_DONTWAIT);
    CHECK(n == (ssize_t)(RF_FRAME_HEAD + len));
    CHECK(((size_t)in[0] << 8 | in[1]) == len && memcmp(in + RF_FRAME_HEAD, out, len) == 0);
}

static void take_in(rf_tcp *t, rf_leg *c) {
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)(c - t->legs)};
    while (c->fd >= 0) {
        char byte;
        for (int i = 0; i < 16 && c->held; i++) {
            if (i == 15)
                seen.busy = 0;
            try_held(t);
        }
        if (c->fd < 0 || recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
            return;
        CHECK(c->in_len < sizeof c->in);
        handle(t, &e);
    }
}

/* Nothing whole is left behind, and what cut it off was to be cut off. */
static void judge(const rf_leg *c) {
    while (seen.fed - seen.at >= RF_FRAME_HEAD) {
        size_t len = (size_t)seen.data[seen.at] << 8 | seen.data[seen.at + 1];
        size_t have = seen.fed - seen.at - RF_FRAME_HEAD;
        int bad = len > RF_MAX_DATAGRAM;
        if (!seen.bound)
            bad |= (len && (len < 20 || (have && seen.data[seen.at + RF_FRAME_HEAD] >= 4))) ||
                   seen.frames >= RF_TCP_STRANGER_FRAMES;
        if (bad) {
            CHECK(c->fd < 0);
            return;
        }
        if (len) {
            CHECK(have < len && c->fd >= 0);
            return;
        }
        seen.at += RF_FRAME_HEAD;
        seen.frames += !seen.bound;
    }
    CHECK(c->fd >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rf_tcp *t = open_once();
    int pair[2];
    rf_path path;
    if (size < 2)
        return 0;
    memset(&path, 0, sizeof path);
    memset(&seen, 0, sizeof seen);
    uint8_t plan = data[0], steps = data[1];
    seen.data = data + 2;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
    rf_leg *c = free_place(t);
    CHECK(c != NULL);
    t->now_ns = t->now_ns + 1;
    greet(t, c, pair[0], &path, 0);
    for (size_t left = size - 2, turn = 0; left && c->fd >= 0; turn++) {
        size_t n = 1 + (steps ? (turn * 37 + steps) % steps * 8 : left);
        if (n > left)
            n = left;
        if (n > 4096)
            n = 4096;
        seen.busy = plan & 1 ? (int)(turn % 4) : 0;
        if (plan & 2 && turn == (plan >> 4) && !c->in_len) /* between two frames */
            seen.bound = rf_tcp_bind(t, c->path.connection, 1, OWNER) == RF_OK;
        CHECK(send(pair[1], seen.data + seen.fed, n, 0) == (ssize_t)n);
        seen.fed += n;
        left -= n;
        take_in(t, c);
        if (plan & 4 && c->fd >= 0)
            send_some(t, c, pair[1], (turn * 53 + plan) % MOST_OUT);
    }
    judge(c);
    close(pair[1]);
    if (c->fd >= 0)
        shut(t, c);
    if (seen.bound) {
        rf_leg_release(t, c);
        serve_dirty(t);
    }
    CHECK(atomic_load(&c->state) == 0 && c->media.bytes == NULL && t->open_count == 0);
    CHECK(t->held == 0 && t->source[0].all == 0 && t->source[0].strangers == 0);
    return 0;
}
