/* The track log, the number map, the lookup tables, the queue: one thread, held against plain
 * models. */
#include "base/error.h"
#include "base/queue.h"
#include "base/seq.h"
#include "model/clock.h"
#include "model/lookup.h"
#include "model/seqmap.h"
#include "model/track.h"
#include "test.h"

static int put(rf_track *t, uint64_t seq, uint32_t ts, int key, int own) {
    rf_slot *s = rf_track_reserve(t, 2, own);
    if (!s)
        return 0;
    memset(s, 0, sizeof *s);
    s->stream_seq = seq;
    s->ts = ts;
    s->payload_len = 10;
    rf_track_commit(t, s, key);
    return 1;
}

static void log_keeps_order_and_numbers(void) {
    rf_track t;
    uint64_t head, index, seq;
    CHECK_EQ(rf_track_init(&t, RF_VIDEO, RF_VIDEO, 100), RF_EINVAL);
    CHECK_EQ(rf_track_init(&t, RF_VIDEO, RF_VIDEO, 64), RF_OK);
    for (uint64_t i = 0; i < 200; i++)
        CHECK(put(&t, 1000 + i, (uint32_t)(i / 4), 0, 0));
    head = atomic_load(&t.head);
    CHECK_EQ(head, 200);
    uint64_t low = rf_track_low(&t, head);
    CHECK_EQ(low, 200 - 56);
    CHECK_EQ(rf_track_find(&t, 1199, low, head), 199);
    CHECK_EQ(rf_track_find(&t, 1144, low, head), 144);
    CHECK(rf_track_find(&t, 1143, low, head) == RF_NO_PIN);
    CHECK(rf_track_find(&t, 1200, low, head) == RF_NO_PIN);
    CHECK_EQ(rf_track_key(&t, low, &index, &seq), 0);
    rf_track_free(&t);
}

static void key_frame_begins_at_its_first_packet(void) {
    rf_track t;
    uint64_t index = 0, seq = 0;
    CHECK_EQ(rf_track_init(&t, RF_VIDEO, RF_VIDEO, 64), RF_OK);
    put(&t, 10, 1, 0, 0);
    put(&t, 12, 2, 0, 0); /* e.g. a delimiter or SEI of the key frame, before its SPS */
    put(&t, 13, 2, 1, 0);
    CHECK_EQ(rf_track_key(&t, 0, &index, &seq), 1);
    CHECK_EQ(index, 1);
    CHECK_EQ(seq, 11);    /* the missing one may be the frame's first */
    put(&t, 11, 2, 0, 0); /* … and so it was */
    CHECK_EQ(rf_track_key(&t, 0, &index, &seq), 1);
    CHECK_EQ(index, 1);
    CHECK_EQ(seq, 11);
    put(&t, 14, 2, 1, 0); /* the IDR slice behind the SPS is the same key frame */
    CHECK_EQ(rf_read(&t.keyframes), 1);
    put(&t, 15, 3, 0, 0);
    put(&t, 9, 0, 0, 0); /* late, of an older frame: begins nothing */
    CHECK_EQ(rf_track_key(&t, 0, &index, &seq), 1);
    CHECK_EQ(index, 1);
    CHECK_EQ(rf_track_key(&t, 2, &index, &seq), 0);
    rf_track_free(&t);
}

static void a_pin_holds_the_writer(void) {
    rf_track t;
    uint64_t head;
    CHECK_EQ(rf_track_init(&t, RF_VIDEO, RF_VIDEO, 64), RF_OK);
    for (uint64_t i = 0; i < 64; i++)
        CHECK(put(&t, i, 0, 0, 0));
    uint64_t low = rf_track_pin(&t, 1, &head);
    CHECK_EQ(low, 8);
    for (uint64_t i = 64; i < 64 + 8; i++)
        CHECK(put(&t, i, 0, 0, 0));
    CHECK_EQ(put(&t, 72, 0, 0, 0), 0); /* the reader still needs that slot */
    CHECK_EQ(rf_track_slot(&t, low)->stream_seq, 8);
    rf_track_unpin(&t, 1);
    CHECK_EQ(put(&t, 72, 0, 0, 0), 1);
    rf_track_pin(&t, 0, &head); /* the writer's own pin does not count */
    for (uint64_t i = 73; i < 200; i++)
        CHECK(put(&t, i, 0, 0, 0));
    rf_track_free(&t);
}

static void number_map(void) {
    rf_seqmap m;
    uint64_t s;
    rf_seqmap_start(&m, 5000, 70000);
    CHECK_EQ(rf_seqmap_find(&m, 4999, &s), 0);
    CHECK(rf_seqmap_find(&m, 5000, &s) && s == 70000);
    rf_seqmap_leave_out(&m, 5003);
    rf_seqmap_leave_out(&m, 5004);
    CHECK(rf_seqmap_find(&m, 5002, &s) && s == 70002);
    CHECK(rf_seqmap_find(&m, 5005, &s) && s == 70003);
    for (uint64_t e = 5010; e < 5010 + 3 * RF_SEQMAP_SEGMENTS; e += 2)
        rf_seqmap_leave_out(&m, e);
    CHECK_EQ(rf_seqmap_find(&m, 5002, &s), 0); /* older than the history */
    uint64_t last = 5010 + 3 * RF_SEQMAP_SEGMENTS;
    CHECK(rf_seqmap_find(&m, last, &s));
    uint64_t before;
    CHECK(rf_seqmap_find(&m, last - 1, &before) && s == before + 1);
}

static void unwrap(void) {
    CHECK_EQ(rf_seq_unwrap(65536 + 10, 9), 65536 + 9);
    CHECK_EQ(rf_seq_unwrap(65535, 0), 65536);
    CHECK_EQ(rf_seq_unwrap(65536, 65535), 65535);
    CHECK_EQ(rf_seq_unwrap(0, 65535), 65535); /* never below zero */
}

static void clock_line(void) {
    uint64_t t = 123456789012345u;
    uint64_t line = rf_clock_line(4000000000u, t, 90000);
    CHECK_EQ(rf_clock_ts(line, t, 90000), 4000000000u);
    CHECK_EQ(rf_clock_ts(line, t + 1000000000u, 90000), (uint32_t)(4000000000u + 90000u));
    uint64_t unix_ns = 1700000000123456789u, since_1900 = unix_ns + 2208988800000000000u;
    uint64_t back = rf_ntp_ns(rf_ntp(unix_ns));
    CHECK(back <= since_1900 && since_1900 - back < 2);
    CHECK_EQ(rf_ntp_ns(1ull << 32), 1000000000);
    CHECK(rf_ntp_ns(UINT64_MAX) < 1ull << 62);
}

/* However often it is looked at, a bucket gives its rate: nothing over, and no fraction lost. */
static void bucket_keeps_its_rate(void) {
    static const uint64_t steps[] = {1000, 100000, 1234567, 9900000, 333333333};
    static const uint64_t rates[] = {200, 30000, 3750000};
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++)
        for (size_t r = 0; r < sizeof rates / sizeof rates[0]; r++) {
            rf_bucket b = {0};
            uint64_t now = 5000000000u, end = now + 2000000000u, taken = 0, burst = rates[r];
            CHECK(rf_bucket_take(&b, rates[r], burst, burst, now));
            while ((now += steps[s]) <= end)
                for (uint64_t n = burst; n; n /= 2)
                    while (rf_bucket_take(&b, rates[r], burst, n, now))
                        taken += n;
            CHECK(taken <= rates[r] * 2);
            CHECK(taken >= rates[r] * 2 * 97 / 100 - steps[s] * rates[r] / 1000000000u - 1 ||
                  steps[s] < 100000);
        }
    rf_bucket old = {0, 1};
    CHECK(rf_bucket_take(&old, 10, 100, 100, UINT64_MAX / 2));
}

static void path_of(rf_path *p, unsigned i) {
    memset(p, 0, sizeof *p);
    p->remote_port = (uint16_t)(i * 7);
    p->remote_ip[15] = (uint8_t)(i % 5);
    p->local_ip[15] = (uint8_t)(i % 3);
}

static void tables(void) {
    enum { N = 90 };
    rf_path_table paths;
    rf_ufrag_table ufrags;
    rf_handle model[N] = {0};
    uint64_t seed = 99;
    CHECK_EQ(rf_paths_init(&paths, 128, 5), RF_OK);
    CHECK_EQ(rf_ufrags_init(&ufrags, 128, 5), RF_OK);
    for (int step = 0; step < 20000; step++) {
        unsigned i = (unsigned)(next_random(&seed) % N);
        rf_path p;
        char name[8];
        path_of(&p, i);
        int n = snprintf(name, sizeof name, "u%u", i);
        if (model[i]) {
            rf_paths_remove(&paths, &p, model[i] + 1); /* somebody else's: stays */
            CHECK(rf_paths_find(&paths, &p) && rf_paths_find(&paths, &p)->peer == model[i]);
            rf_paths_remove(&paths, &p, model[i]);
            rf_ufrags_remove(&ufrags, (uint8_t *)name, (size_t)n, model[i]);
            model[i] = 0;
        } else {
            model[i] = (rf_handle)step + 1;
            CHECK_EQ(rf_paths_put(&paths, &p, model[i], 0), RF_OK);
            CHECK_EQ(rf_ufrags_put(&ufrags, (uint8_t *)name, (size_t)n, model[i]), RF_OK);
        }
        unsigned j = (unsigned)(next_random(&seed) % N);
        path_of(&p, j);
        n = snprintf(name, sizeof name, "u%u", j);
        const rf_path_entry *e = rf_paths_find(&paths, &p);
        CHECK(model[j] ? e && e->peer == model[j] : !e);
        CHECK_EQ(rf_ufrags_find(&ufrags, (uint8_t *)name, (size_t)n), model[j]);
    }
    rf_paths_free(&paths);
    rf_ufrags_free(&ufrags);
}

static void queue(void) {
    rf_queue q;
    uint64_t ticket, tickets[8];
    CHECK_EQ(rf_queue_init(&q, 6, 8), RF_EINVAL);
    CHECK_EQ(rf_queue_init(&q, 8, 8), RF_OK);
    for (uint64_t lap = 0; lap < 5; lap++) {
        for (uint64_t i = 0; i < 8; i++) {
            uint64_t *cell = rf_queue_reserve(&q, &tickets[i]);
            CHECK(cell != NULL);
            *cell = lap * 8 + i;
        }
        CHECK(rf_queue_reserve(&q, &ticket) == NULL);
        CHECK(rf_queue_peek(&q, &ticket) == NULL); /* reserved is not published */
        for (uint64_t i = 0; i < 8; i++)
            rf_queue_publish(&q, tickets[i]);
        CHECK_EQ(rf_queue_size(&q), 8);
        for (uint64_t i = 0; i < 8; i++) {
            const uint64_t *cell = rf_queue_peek(&q, &ticket);
            CHECK(cell && *cell == lap * 8 + i);
            rf_queue_release(&q, ticket);
        }
        CHECK(rf_queue_peek(&q, &ticket) == NULL);
    }
    rf_queue_free(&q);
}

int main(void) {
    log_keeps_order_and_numbers();
    key_frame_begins_at_its_first_packet();
    a_pin_holds_the_writer();
    number_map();
    unwrap();
    clock_line();
    bucket_keeps_its_rate();
    tables();
    queue();
    return done("model");
}
