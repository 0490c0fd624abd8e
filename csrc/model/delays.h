/* How long media packets stay here: from the kernel's receive stamp to the return of the send that
 * took them away. A histogram with four buckets an octave, so a quantile is right to a quarter;
 * written by one thread, read by any (base/counter.h).
 *
 *   bucket 0..3: whole units of 1.024 us; then bucket 4k..4k+3: the quarters of [2^(k+1), 2^(k+2))
 */
#ifndef RF_MODEL_DELAYS_H
#define RF_MODEL_DELAYS_H

#include "base/counter.h"
#include "rtcfwd.h"

#define RF_DELAY_WINDOW_NS 30000000000u

typedef struct rf_delays {
    rf_counter sum_ns, max_ns, count;
    rf_counter bucket[RF_DELAY_BUCKETS];
} rf_delays;

/* Of a stream: two windows that take turns, so there is always half a minute to look at. */
typedef struct rf_recent_delays {
    rf_delays window[2];
    rf_counter since_ns; /* when the present one began; owner's, read by the control plane */
    _Atomic uint8_t now;
} rf_recent_delays;

static inline int rf_delay_bucket(uint64_t ns) {
    uint64_t units = ns >> 10;
    if (units < 4)
        return (int)units;
    int octave = 63 - __builtin_clzll(units);
    int bucket = (octave - 1) * 4 + (int)(units >> (octave - 2) & 3);
    return bucket < RF_DELAY_BUCKETS ? bucket : RF_DELAY_BUCKETS - 1;
}

static inline void rf_delays_note(rf_delays *d, uint64_t ns, uint64_t packets) {
    rf_count(&d->sum_ns, ns * packets);
    rf_count(&d->count, packets);
    rf_count(&d->bucket[rf_delay_bucket(ns)], packets);
    if (ns > rf_read(&d->max_ns))
        rf_set(&d->max_ns, ns);
}

/* Owner's: `packets` that left at now_ns had stayed for ns. */
void rf_recent_delays_note(rf_recent_delays *r, uint64_t now_ns, uint64_t ns, uint64_t packets);
/* Adds what both windows hold. */
void rf_recent_delays_add(const rf_recent_delays *r, rf_delay_stats *sum);
void rf_delays_add(const rf_delays *d, rf_delay_stats *sum);

#endif
