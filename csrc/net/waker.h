/* A doorbell between threads: an eventfd that is only written when the other side said it is about
 * to sleep. Sleeper: arm, look once more for work, sleep, disarm. Ringer: publish the work
 * (seq_cst), ring. One of the two always sees the other. */
#ifndef RF_NET_WAKER_H
#define RF_NET_WAKER_H

#include <stdatomic.h>
#include <stdint.h>

typedef struct rf_waker {
    int fd; /* -1: in memory, nobody sleeps */
    _Alignas(64) _Atomic uint32_t armed;
} rf_waker;

int rf_waker_open(rf_waker *w, int in_memory);
void rf_waker_close(rf_waker *w);
void rf_waker_arm(rf_waker *w);
void rf_waker_disarm(rf_waker *w); /* and empties the eventfd */
void rf_waker_ring_slow(rf_waker *w);

static inline void rf_waker_ring(rf_waker *w) {
    if (atomic_load_explicit(&w->armed, memory_order_seq_cst))
        rf_waker_ring_slow(w);
}

#endif
