/* See waker.h. */
#include "net/waker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"

int rf_waker_open(rf_waker *w, int in_memory) {
    atomic_init(&w->armed, 0);
    w->fd = -1;
    if (in_memory)
        return RF_OK;
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->fd < 0 ? RF_ESYS : RF_OK;
}

void rf_waker_close(rf_waker *w) {
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

void rf_waker_arm(rf_waker *w) {
    atomic_store_explicit(&w->armed, 1, memory_order_seq_cst);
}

void rf_waker_disarm(rf_waker *w) {
    uint64_t count;
    atomic_store_explicit(&w->armed, 0, memory_order_seq_cst);
    if (w->fd >= 0 && read(w->fd, &count, sizeof count) < 0)
        return; /* nothing was waiting */
}

void rf_waker_ring_slow(rf_waker *w) {
    uint64_t one = 1;
    if (atomic_exchange_explicit(&w->armed, 0, memory_order_seq_cst) && w->fd >= 0 &&
        write(w->fd, &one, sizeof one) < 0)
        return; /* the counter is full: the sleeper has a ring waiting already */
}
