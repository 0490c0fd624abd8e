/* The thread of tcp.h: accepts, cuts what comes into datagrams, writes what the rings hold, and
 * ends connections. Places are used in turn, so that a number does not come again soon; only the
 * thread frees them. */
#include "net/tcp_inside.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "net/address.h"

enum { ACCEPTS = 64, EVENTS = 64, WRITES = 8 };
static const uint64_t SWEEP_NS = 250000000u;

static void less(rf_counter *c) {
    rf_set(c, rf_read(c) - 1);
}

static uint16_t source_of(const rf_tcp *t, const uint8_t ip[16]) {
    uint64_t a, b = 0;
    memcpy(&a, ip, 8);
    if (memcmp(ip, rf_v4_mapped, 12) == 0)
        memcpy(&b, ip + 8, 8);
    uint64_t h = (a ^ b ^ b >> 32 ^ t->setup.seed) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93u;
    return (uint16_t)((h ^ h >> 32) % RF_TCP_SOURCES);
}

/* ---- a connection's end ---- */

static void unlist(rf_tcp *t, const rf_leg *c) {
    for (uint32_t i = 0; i < t->open_count; i++)
        if (t->open[i] == (uint32_t)(c - t->legs)) {
            t->open[i] = t->open[--t->open_count];
            break;
        }
}

/* One that its owner has released. */
static void forget(rf_tcp *t, rf_leg *c) {
    unlist(t, c);
    free(c->media.bytes);
    c->media.bytes = NULL;
    atomic_store_explicit(&c->state, 0, memory_order_release);
}

static void shut(rf_tcp *t, rf_leg *c) {
    if (c->fd < 0)
        return;
    close(c->fd);
    c->fd = -1;
    t->held -= c->held;
    c->held = 0;
    t->source[c->source].all--;
    if (c->known)
        less(&t->count.bound);
    else
        t->source[c->source].strangers--;
    less(&t->count.open);
    rf_count(&t->count.closed, 1);
    atomic_store_explicit(&c->closed, 1, memory_order_release);
    /* A stranger's place is free at once, unless the control plane binds it just now. */
    uint64_t stranger = atomic_load_explicit(&c->state, memory_order_acquire) & ~0xffffffffull;
    if (atomic_compare_exchange_strong(&c->state, &stranger, 0))
        unlist(t, c);
    else if (atomic_load_explicit(&c->released, memory_order_acquire))
        forget(t, c);
}

static void notice_binding(rf_tcp *t, rf_leg *c) {
    if (c->known || !rf_leg_owner(c))
        return;
    c->known = 1;
    c->until_ns = 0;
    t->source[c->source].strangers--;
    rf_count(&t->count.bound, 1);
}

/* ---- out ---- */

static void listen_for(rf_tcp *t, rf_leg *c, uint32_t events) {
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)(c - t->legs)};
    if (c->interest != events && epoll_ctl(t->epoll, EPOLL_CTL_MOD, c->fd, &e) == 0)
        c->interest = events;
}

static void wrote(rf_tcp *t, rf_leg *c, rf_ring *r, size_t bytes) {
    rf_count(&t->count.sent_bytes, bytes);
    c->current = r;
    while (bytes) {
        if (!c->left)
            c->left = rf_ring_frame(r);
        size_t part = bytes < c->left ? bytes : c->left;
        rf_ring_take(r, part);
        c->left -= part;
        bytes -= part;
        rf_count(&t->count.sent, !c->left);
    }
}

/* Frames begun are ended first, then the control plane's, then media. 1: all is out. */
static int drain(rf_tcp *t, rf_leg *c) {
    for (int i = 0; i < WRITES; i++) {
        rf_ring *r = c->left                     ? c->current
                     : rf_ring_used(&c->control) ? &c->control
                     : rf_leg_owner(c)           ? &c->media
                                                 : NULL;
        struct iovec piece[2];
        int pieces = r ? rf_ring_pieces(r, c->left ? c->left : SIZE_MAX, piece) : 0;
        if (!pieces)
            return 1;
        struct msghdr m = {.msg_iov = piece, .msg_iovlen = (size_t)pieces};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EINTR && errno != EAGAIN) {
            shut(t, c);
            return 0;
        }
        if (n < 0)
            return 0;
        wrote(t, c, r, (size_t)n);
    }
    return 0;
}

static void flush(rf_tcp *t, rf_leg *c) {
    if (c->fd < 0)
        return;
    notice_binding(t, c);
    int done = drain(t, c);
    if (c->fd < 0)
        return;
    if (done && c->ending && !c->shut) { /* what the peer still sends is read away, else RST */
        c->shut = 1;
        shutdown(c->fd, SHUT_WR);
    }
    listen_for(t, c, (c->held ? 0u : EPOLLIN) | (done ? 0u : EPOLLOUT));
}

static void serve_dirty(rf_tcp *t) {
    uint64_t ticket;
    uint32_t *cell;
    while ((cell = rf_queue_peek(&t->dirty, &ticket))) {
        rf_leg *c = &t->legs[*cell];
        rf_queue_release(&t->dirty, ticket);
        atomic_store_explicit(&c->dirty, 0, memory_order_seq_cst);
        if (atomic_load_explicit(&c->released, memory_order_acquire)) {
            if (c->fd < 0) {
                if (atomic_load_explicit(&c->state, memory_order_relaxed))
                    forget(t, c);
                continue;
            }
            if (!c->ending) {
                c->ending = 1;
                c->until_ns = t->now_ns + RF_TCP_LINGER_S * RF_SECOND;
            }
        }
        flush(t, c);
    }
}

/* ---- in ---- */

/* Before the first authenticated check nothing but STUN is listened to. */
static int is_acceptable(rf_leg *c, uint32_t owner, const uint8_t *frame, size_t len, size_t have) {
    if (len > RF_MAX_DATAGRAM)
        return 0;
    if (owner)
        return 1;
    return (len == 0 || (len >= 20 && (have < 1 || frame[0] < 4))) &&
           c->frames < RF_TCP_STRANGER_FRAMES;
}

/* Gives whole frames away. RF_ETRUNC: this is no peer of ours. */
static int parse(rf_tcp *t, rf_leg *c) {
    uint32_t at = 0, owner = rf_leg_owner(c);
    int worker = owner ? (int)owner - 1 : (int)((c - t->legs) % t->setup.workers), rc = RF_OK;
    t->held -= c->held;
    c->held = 0;
    while (c->in_len - at >= RF_FRAME_HEAD) {
        const uint8_t *frame = c->in + at + RF_FRAME_HEAD;
        size_t len = (size_t)c->in[at] << 8 | c->in[at + 1], have = c->in_len - at - RF_FRAME_HEAD;
        if (!is_acceptable(c, owner, frame, len, have)) {
            rc = RF_ETRUNC;
            break;
        }
        if (have < len)
            break;
        if (len && !c->ending && t->setup.deliver(t->setup.arg, worker, &c->path, frame, len)) {
            c->held = 1;
            t->held++;
            break;
        }
        rf_count(&t->count.received, 1);
        c->frames += !owner;
        at += RF_FRAME_HEAD + (uint32_t)len;
    }
    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);
    return rc;
}

static void receive(rf_tcp *t, rf_leg *c) {
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - c->in_len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    notice_binding(t, c);
    if (n > 0) {
        rf_count(&t->count.received_bytes, (uint64_t)n);
        c->in_len += (uint32_t)n;
    }
    if (n <= 0 || parse(t, c) != RF_OK) {
        rf_count(&t->count.malformed, n > 0);
        shut(t, c);
    } else {
        listen_for(t, c, (c->interest & EPOLLOUT) | (c->held ? 0u : EPOLLIN));
    }
}

/* ---- accept ---- */

static rf_leg *free_place(rf_tcp *t) {
    for (uint32_t i = 0; i < t->setup.connections; i++) {
        rf_leg *c = &t->legs[(t->next_place + i) % t->setup.connections];
        if (!atomic_load_explicit(&c->state, memory_order_relaxed)) {
            t->next_place = (uint32_t)(c - t->legs) + 1;
            return c;
        }
    }
    return NULL;
}

/* All places are taken: the oldest stranger gives way. */
static void evict_stranger(rf_tcp *t) {
    rf_leg *oldest = NULL;
    for (uint32_t i = 0; i < t->open_count; i++) {
        rf_leg *c = &t->legs[t->open[i]];
        if (c->fd >= 0 && !rf_leg_owner(c) && (!oldest || c->until_ns < oldest->until_ns))
            oldest = c;
    }
    if (oldest) {
        rf_count(&t->count.expired, 1);
        shut(t, oldest);
    }
}

static void greet(rf_tcp *t, rf_leg *c, int fd, const rf_path *path, uint16_t source) {
    uint32_t place = (uint32_t)(c - t->legs);
    uint32_t id = (++t->generation & 0xffff) << 16 | (place + 1);
    rf_tcp_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    rf_tcp_option(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 64 * 1024);
    rf_tcp_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 30000);
    rf_tcp_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    rf_tcp_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
    rf_tcp_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
    rf_ring_take(&c->control, rf_ring_used(&c->control));
    c->fd = fd;
    c->source = source;
    c->known = c->held = c->ending = c->shut = 0;
    c->frames = c->in_len = 0;
    c->left = 0;
    c->until_ns = t->now_ns + RF_TCP_STRANGER_S * RF_SECOND;
    c->path = *path;
    c->path.connection = id;
    c->interest = EPOLLIN;
    atomic_store_explicit(&c->closed, 0, memory_order_relaxed);
    atomic_store_explicit(&c->released, 0, memory_order_relaxed);
    t->open[t->open_count++] = place;
    t->source[source].all++;
    t->source[source].strangers++;
    rf_count(&t->count.accepted, 1);
    rf_count(&t->count.open, 1);
    atomic_store_explicit(&c->state, (uint64_t)id << 32, memory_order_release);
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = place};
    if (epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &e))
        shut(t, c);
}

static void accept_all(rf_tcp *t) {
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage from = {0}, to = {0};
        socklen_t from_len = sizeof from, to_len = sizeof to;
        int fd = accept4(t->fd, (struct sockaddr *)&from, &from_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            struct epoll_event e = {.events = 0, .data.u32 = RF_TCP_LISTENER};
            epoll_ctl(t->epoll, EPOLL_CTL_MOD, t->fd, &e);
            t->deaf = 1;
        }
        if (fd < 0)
            return;
        rf_path path;
        uint16_t port;
        memset(&path, 0, sizeof path);
        getsockname(fd, (struct sockaddr *)&to, &to_len);
        rf_address_read(&from, path.remote_ip, &path.remote_port);
        rf_address_read(&to, path.local_ip, &port);
        uint16_t source = source_of(t, path.remote_ip);
        rf_leg *c = NULL;
        if (t->source[source].strangers < RF_TCP_SOURCE_STRANGERS &&
            t->source[source].all < RF_TCP_SOURCE_ALL && !(c = free_place(t))) {
            evict_stranger(t);
            c = free_place(t);
        }
        if (c) {
            greet(t, c, fd, &path, source);
        } else {
            rf_count(&t->count.refused, 1);
            close(fd);
        }
    }
}

/* ---- the thread ---- */

static void sweep(rf_tcp *t) {
    t->sweep_ns = t->now_ns + SWEEP_NS;
    if (t->deaf) {
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = RF_TCP_LISTENER};
        t->deaf = epoll_ctl(t->epoll, EPOLL_CTL_MOD, t->fd, &e) != 0;
    }
    for (uint32_t i = t->open_count; i-- > 0;) { /* from behind: the last one fills a gap */
        rf_leg *c = &t->legs[t->open[i]];
        notice_binding(t, c);
        if (c->fd >= 0 && c->until_ns && t->now_ns >= c->until_ns) {
            rf_count(&t->count.expired, !c->known);
            shut(t, c);
        }
    }
}

static void try_held(rf_tcp *t) {
    for (uint32_t i = t->open_count; i-- > 0 && t->held;) {
        rf_leg *c = &t->legs[t->open[i]];
        if (!c->held)
            continue;
        if (parse(t, c) != RF_OK) {
            rf_count(&t->count.malformed, 1);
            shut(t, c);
        } else if (!c->held) {
            listen_for(t, c, c->interest | EPOLLIN);
        }
    }
}

static void handle(rf_tcp *t, const struct epoll_event *e) {
    if (e->data.u32 == RF_TCP_LISTENER) {
        accept_all(t);
    } else if (e->data.u32 != RF_TCP_BELL) {
        rf_leg *c = &t->legs[e->data.u32];
        if (c->fd >= 0 && e->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
            if (e->events & EPOLLIN && c->in_len < sizeof c->in)
                receive(t, c);
            else
                shut(t, c);
        }
        if (c->fd >= 0 && e->events & EPOLLOUT)
            flush(t, c);
    }
}

void *rf_tcp_run(void *arg) {
    rf_tcp *t = arg;
    struct epoll_event events[EVENTS];
    while (!atomic_load_explicit(&t->stopping, memory_order_acquire)) {
        serve_dirty(t);
        rf_waker_arm(&t->bell);
        int timeout = t->held ? 2 : t->open_count || t->deaf ? (int)(SWEEP_NS / 1000000) : -1;
        if (rf_queue_size(&t->dirty))
            timeout = 0;
        int n = epoll_wait(t->epoll, events, EVENTS, timeout);
        rf_waker_disarm(&t->bell);
        t->now_ns = rf_tcp_clock();
        for (int i = 0; i < n; i++)
            handle(t, &events[i]);
        if (t->held)
            try_held(t);
        if (t->now_ns >= t->sweep_ns)
            sweep(t);
    }
    serve_dirty(t); /* the last close_notify and BYE */
    return NULL;
}
