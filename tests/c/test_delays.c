/* The histogram of delays: its buckets, and the two windows of a stream. */
#include "test.h"

#include "model/delays.h"

static void every_time_is_below_its_buckets_end(void) {
    uint64_t random = 7;
    for (int i = 0; i < 200000; i++) {
        uint64_t ns = next_random(&random) >> (20 + i % 44);
        int bucket = rf_delay_bucket(ns);
        CHECK(bucket >= 0 && bucket < RF_DELAY_BUCKETS);
        CHECK(ns < rf_delay_bound(bucket));
        CHECK(bucket == 0 || ns >= rf_delay_bound(bucket - 1));
    }
}

static void two_windows_take_turns(void) {
    rf_recent_delays r;
    memset(&r, 0, sizeof r);
    uint64_t at = 5ull * RF_DELAY_WINDOW_NS;
    const uint64_t fast = 10000, slow = 90000000;
    rf_recent_delays_note(&r, at, slow, 3);
    rf_recent_delays_note(&r, at + RF_DELAY_WINDOW_NS, fast, 2);
    rf_delay_stats s;
    memset(&s, 0, sizeof s);
    rf_recent_delays_add(&r, &s);
    CHECK_EQ(s.count, 5);
    CHECK_EQ(s.max_ns, slow);
    CHECK_EQ(s.sum_ns, 3 * slow + 2 * fast);
    CHECK_EQ(s.bucket[rf_delay_bucket(slow)], 3);
    CHECK_EQ(s.bucket[rf_delay_bucket(fast)], 2);
    rf_recent_delays_note(&r, at + 2ull * RF_DELAY_WINDOW_NS, fast, 1);
    memset(&s, 0, sizeof s);
    rf_recent_delays_add(&r, &s);
    CHECK_EQ(s.count, 3);
    CHECK_EQ(s.max_ns, fast);
}

int main(void) {
    every_time_is_below_its_buckets_end();
    two_windows_take_turns();
    return done("delays");
}
