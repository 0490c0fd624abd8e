/* What tcp.c (the thread) and tcp_life.c (making it, and what other threads call) share. */
#ifndef RF_NET_TCP_INSIDE_H
#define RF_NET_TCP_INSIDE_H

#include <pthread.h>
#include <sys/socket.h>
#include <time.h>

#include "base/queue.h"
#include "net/tcp.h"
#include "net/waker.h"

enum { RF_TCP_SOURCES = 4096 };
#define RF_TCP_LISTENER UINT32_MAX /* epoll's names; a connection's is its place */
#define RF_TCP_BELL (UINT32_MAX - 1)
#define RF_SECOND 1000000000ull

struct rf_tcp {
    rf_tcp_setup setup;
    int fd, epoll, family;
    int deaf; /* no descriptors are left: the listener rests until the next sweep */
    pthread_t thread;
    int running;
    _Atomic int stopping;
    rf_waker bell;
    rf_queue dirty; /* places that have something to write, or were released */
    rf_leg *legs;   /* owned */
    uint32_t *open; /* places in use, dense */
    uint32_t open_count, next_place, generation, held;
    struct {
        uint16_t all, strangers;
    } source[RF_TCP_SOURCES];
    uint64_t now_ns, sweep_ns;
    struct {
        rf_counter accepted, refused, expired, malformed, closed, open, bound;
        rf_counter received, received_bytes, sent, sent_bytes;
    } count;
};

static inline uint32_t rf_leg_owner(const rf_leg *c) { /* worker + 1; 0: a stranger */
    return (uint32_t)atomic_load_explicit(&c->state, memory_order_acquire);
}

static inline uint64_t rf_tcp_clock(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * RF_SECOND + (uint64_t)ts.tv_nsec;
}

static inline void rf_tcp_option(int fd, int level, int name, int value) {
    setsockopt(fd, level, name, &value, sizeof value);
}

void *rf_tcp_run(void *tcp); /* the thread */

#endif
