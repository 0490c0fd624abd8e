/* See delays.h. */
#include "model/delays.h"

static void clear(rf_delays *d) {
    rf_set(&d->sum_ns, 0);
    rf_set(&d->max_ns, 0);
    rf_set(&d->count, 0);
    for (int i = 0; i < RF_DELAY_BUCKETS; i++)
        rf_set(&d->bucket[i], 0);
}

void rf_recent_delays_note(rf_recent_delays *r, uint64_t now_ns, uint64_t ns, uint64_t packets) {
    uint8_t now = atomic_load_explicit(&r->now, memory_order_relaxed);
    uint64_t age = now_ns - rf_read(&r->since_ns);
    if (age >= RF_DELAY_WINDOW_NS) {
        if (age >= 2ull * RF_DELAY_WINDOW_NS)
            clear(&r->window[now]); /* nothing was sent for so long: it tells of another time */
        now ^= 1;
        clear(&r->window[now]);
        rf_set(&r->since_ns, now_ns);
        atomic_store_explicit(&r->now, now, memory_order_relaxed);
    }
    rf_delays_note(&r->window[now], ns, packets);
}

void rf_delays_add(const rf_delays *d, rf_delay_stats *sum) {
    uint64_t max = rf_read(&d->max_ns);
    sum->sum_ns += rf_read(&d->sum_ns);
    sum->count += rf_read(&d->count);
    sum->max_ns = max > sum->max_ns ? max : sum->max_ns;
    for (int i = 0; i < RF_DELAY_BUCKETS; i++)
        sum->bucket[i] += rf_read(&d->bucket[i]);
}

void rf_recent_delays_add(const rf_recent_delays *r, rf_delay_stats *sum) {
    for (int i = 0; i < 2; i++)
        rf_delays_add(&r->window[i], sum);
}

uint64_t rf_delay_bound(int bucket) {
    if (bucket < 0 || bucket >= RF_DELAY_BUCKETS - 1)
        return UINT64_MAX;
    uint64_t next = (uint64_t)bucket + 1;
    return next < 4 ? next << 10 : (4 + (next & 3)) << (next / 4 - 1) << 10;
}
