/* Counters that one thread writes and any thread reads: relaxed loads and stores, no lock prefix.
 * A reader sees each counter whole, not all of them at one instant. */
#ifndef RF_BASE_COUNTER_H
#define RF_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t rf_counter;

static inline uint64_t rf_read(const rf_counter *c) {
    return atomic_load_explicit(c, memory_order_relaxed);
}

static inline void rf_set(rf_counter *c, uint64_t v) {
    atomic_store_explicit(c, v, memory_order_relaxed);
}

static inline void rf_count(rf_counter *c, uint64_t n) {
    rf_set(c, rf_read(c) + n);
}

#endif
