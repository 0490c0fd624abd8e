/* A token bucket: `rate` tokens a second, at most `burst` saved up. Time is given, in ns. */
#ifndef RF_BASE_BUCKET_H
#define RF_BASE_BUCKET_H

#include <stdint.h>

typedef struct rf_bucket {
    uint64_t tokens;
    uint64_t at_ns;
} rf_bucket;

static inline void rf_bucket_refill(rf_bucket *b, uint64_t rate, uint64_t burst, uint64_t now_ns) {
    if (b->at_ns == 0) {
        b->tokens = burst;
        b->at_ns = now_ns;
        return;
    }
    uint64_t us = (now_ns - b->at_ns) / 1000;
    if (us > 10000000) {
        us = 10000000;
        b->at_ns = now_ns - 10000000000u;
    }
    uint64_t gained = us * rate / 1000000;
    if (gained == 0)
        return;
    b->tokens = b->tokens + gained > burst ? burst : b->tokens + gained;
    b->at_ns +=
        (gained * 1000000 + rate - 1) / rate * 1000; /* what is left of the time counts on */
}

/* 1 when `n` tokens were there and are now taken. */
static inline int rf_bucket_take(rf_bucket *b, uint64_t rate, uint64_t burst, uint64_t n,
                                 uint64_t now_ns) {
    rf_bucket_refill(b, rate, burst, now_ns);
    if (b->tokens < n)
        return 0;
    b->tokens -= n;
    return 1;
}

#endif
