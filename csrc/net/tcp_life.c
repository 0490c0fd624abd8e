/* The TCP side's making and ending, and what other threads do with a connection: see tcp.h. */
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "net/address.h"
#include "net/tcp_inside.h"

enum { KERNEL_BUFFER = 256 * 1024 }; /* of what was written, not yet acknowledged */

/* ---- what others call ---- */

static void mark(rf_tcp *t, rf_leg *c) {
    uint64_t ticket;
    if (atomic_exchange_explicit(&c->dirty, 1, memory_order_seq_cst))
        return;
    uint32_t *cell = rf_queue_reserve(&t->dirty, &ticket);
    if (!cell)
        return; /* there is a cell for every place */
    *cell = (uint32_t)(c - t->legs);
    rf_queue_publish(&t->dirty, ticket);
    rf_waker_ring(&t->bell);
}

rf_leg *rf_tcp_leg(rf_tcp *t, uint32_t connection) {
    uint32_t place = (connection & 0xffff) - 1;
    if (!connection || place >= t->setup.connections)
        return NULL;
    rf_leg *c = &t->legs[place];
    return atomic_load_explicit(&c->state, memory_order_acquire) >> 32 == connection ? c : NULL;
}

int rf_tcp_bind(rf_tcp *t, uint32_t connection, rf_handle peer, int owner) {
    rf_leg *c = rf_tcp_leg(t, connection);
    if (!c || atomic_load_explicit(&c->released, memory_order_acquire))
        return RF_ESTALE;
    if (rf_leg_owner(c))
        return c->peer == peer ? RF_OK : RF_ESTALE;
    uint8_t *bytes = malloc(RF_LEG_MEDIA);
    if (!bytes)
        return RF_ENOMEM;
    rf_ring_init(&c->media, bytes, RF_LEG_MEDIA); /* nobody looks at it before the exchange */
    memset(&c->pace, 0, sizeof c->pace);
    c->peer = peer;
    uint64_t stranger = (uint64_t)connection << 32;
    if (!atomic_compare_exchange_strong(&c->state, &stranger, stranger | ((uint32_t)owner + 1))) {
        c->media.bytes = NULL;
        free(bytes);
        return RF_ESTALE;
    }
    return RF_OK;
}

int rf_tcp_send(rf_tcp *t, uint32_t connection, const uint8_t *data, size_t len) {
    rf_leg *c = rf_tcp_leg(t, connection);
    if (!c)
        return RF_ESTALE;
    int rc = rf_ring_put(&c->control, data, len);
    mark(t, c);
    return rc;
}

int rf_leg_send(rf_tcp *t, rf_leg *leg, const uint8_t *data, size_t len) {
    if (atomic_load_explicit(&leg->closed, memory_order_relaxed))
        return RF_ESTALE;
    int rc = rf_ring_put(&leg->media, data, len);
    mark(t, leg);
    return rc;
}

void rf_leg_release(rf_tcp *t, rf_leg *leg) {
    atomic_store_explicit(&leg->released, 1, memory_order_release);
    mark(t, leg);
}

/* ---- life ---- */

static int listen_on(rf_tcp *t, uint16_t *bound) {
    struct sockaddr_storage at = {0};
    socklen_t len = sizeof at;
    uint8_t ip[16];
    t->family = AF_INET6;
    t->fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (t->fd < 0 && errno == EAFNOSUPPORT) {
        t->family = AF_INET;
        t->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    if (t->fd < 0)
        return RF_ESYS;
    memcpy(ip, t->setup.bind_ip, sizeof ip);
    if (t->family == AF_INET && memcmp(ip, rf_v4_mapped, sizeof rf_v4_mapped) != 0)
        memset(ip, 0, sizeof ip);
    rf_tcp_option(t->fd, SOL_SOCKET, SO_REUSEADDR, 1);
    rf_tcp_option(t->fd, SOL_SOCKET, SO_SNDBUF, KERNEL_BUFFER);
    if (t->family == AF_INET6)
        rf_tcp_option(t->fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    socklen_t want = rf_address_write(t->family, ip, t->setup.port, &at);
    if (bind(t->fd, (struct sockaddr *)&at, want) || listen(t->fd, 512) ||
        getsockname(t->fd, (struct sockaddr *)&at, &len))
        return RF_ESYS;
    rf_address_read(&at, ip, bound);
    return RF_OK;
}

static int watch(rf_tcp *t) {
    struct epoll_event on_fd = {.events = EPOLLIN, .data.u32 = RF_TCP_LISTENER};
    struct epoll_event on_bell = {.events = EPOLLIN, .data.u32 = RF_TCP_BELL};
    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    return t->epoll < 0 || epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->fd, &on_fd) ||
                   epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->bell.fd, &on_bell)
               ? RF_ESYS
               : RF_OK;
}

int rf_tcp_open(const rf_tcp_setup *setup, rf_tcp **out, uint16_t *bound) {
    size_t size = (sizeof(rf_tcp) + 63) / 64 * 64, cells = 1;
    if (!setup->connections || setup->connections > 0xfff0 || setup->workers < 1)
        return RF_EINVAL;
    rf_tcp *t = aligned_alloc(64, size);
    if (!t)
        return RF_ENOMEM;
    memset(t, 0, size);
    t->setup = *setup;
    t->fd = t->epoll = t->bell.fd = -1;
    while (cells < setup->connections * 2ull)
        cells *= 2;
    size_t legs = setup->connections * sizeof(rf_leg);
    t->open = calloc(setup->connections, sizeof *t->open);
    t->legs = aligned_alloc(64, (legs + 63) / 64 * 64);
    int rc = t->open && t->legs ? rf_queue_init(&t->dirty, cells, sizeof(uint32_t)) : RF_ENOMEM;
    for (uint32_t i = 0; rc == RF_OK && i < setup->connections; i++) {
        rf_leg *c = &t->legs[i];
        memset(c, 0, offsetof(rf_leg, in)); /* buffers are left: memory that nobody touched */
        c->fd = -1;
        rf_ring_init(&c->control, c->control_bytes, RF_LEG_CONTROL);
    }
    if (rc == RF_OK)
        rc = rf_waker_open(&t->bell, 0);
    if (rc == RF_OK)
        rc = listen_on(t, bound);
    if (rc == RF_OK)
        rc = watch(t);
    if (rc != RF_OK) {
        int error = errno;
        rf_tcp_free(t);
        errno = error;
        return rc;
    }
    *out = t;
    return RF_OK;
}

int rf_tcp_start(rf_tcp *t) {
    sigset_t all, before;
    t->now_ns = rf_tcp_clock();
    sigfillset(&all); /* signals are Python's business */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&t->thread, NULL, rf_tcp_run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return RF_ESYS;
    pthread_setname_np(t->thread, "rtcfwd-tcp");
    t->running = 1;
    return RF_OK;
}

void rf_tcp_stop(rf_tcp *t) {
    uint64_t one = 1;
    if (!t->running)
        return;
    atomic_store_explicit(&t->stopping, 1, memory_order_release);
    if (write(t->bell.fd, &one, sizeof one) < 0) { /* full: it will wake anyway */
    }
    pthread_join(t->thread, NULL);
    t->running = 0;
}

void rf_tcp_free(rf_tcp *t) {
    if (!t)
        return;
    rf_tcp_stop(t);
    for (uint32_t i = 0; i < t->open_count; i++) {
        rf_leg *c = &t->legs[t->open[i]];
        if (c->fd >= 0)
            close(c->fd);
        free(c->media.bytes);
    }
    if (t->fd >= 0)
        close(t->fd);
    if (t->epoll >= 0)
        close(t->epoll);
    rf_waker_close(&t->bell);
    rf_queue_free(&t->dirty);
    free(t->open);
    free(t->legs);
    free(t);
}

void rf_tcp_figures(const rf_tcp *t, rf_tcp_stats *out) {
    out->accepted = rf_read(&t->count.accepted);
    out->refused = rf_read(&t->count.refused);
    out->expired = rf_read(&t->count.expired);
    out->malformed = rf_read(&t->count.malformed);
    out->closed = rf_read(&t->count.closed);
    out->open = rf_read(&t->count.open);
    out->bound = rf_read(&t->count.bound);
    out->received = rf_read(&t->count.received);
    out->received_bytes = rf_read(&t->count.received_bytes);
    out->sent = rf_read(&t->count.sent);
    out->sent_bytes = rf_read(&t->count.sent_bytes);
}

/* The buffers of a place that was never used are not counted: nobody has touched that memory. */
uint64_t rf_tcp_memory(const rf_tcp *t) {
    uint64_t n = sizeof *t + t->setup.connections * (offsetof(rf_leg, in) + sizeof *t->open);
    for (uint32_t i = 0; i < t->setup.connections; i++) {
        uint64_t state = atomic_load_explicit(&t->legs[i].state, memory_order_relaxed);
        n += state ? RF_LEG_INPUT + RF_LEG_CONTROL : 0;
        n += (uint32_t)state ? RF_LEG_MEDIA : 0;
    }
    return n;
}
