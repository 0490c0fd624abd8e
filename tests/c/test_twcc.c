/* Transport-wide feedback: what the writer says is read back by a reader of this file's own, made
 * from the draft's text (draft-holmer-rmcat-transport-wide-cc-extensions-01 section 3.1), not from
 * the writer; and what the ring remembers of packets that come in any order. */
#include "base/error.h"
#include "base/seq.h"
#include "feedback/feedback.h"
#include "test.h"
#include "wire/twcc.h"

enum { ROOM = 1200 };
static uint8_t buffer[ROOM];

typedef struct told {
    uint16_t base;
    int packets;
    uint8_t count;
    uint64_t tick[65536]; /* on the 32-bit clock of the reference time; 0: did not come */
} told;

static told back;

static int symbol_at(uint16_t chunk, int i) {
    if (!(chunk & 0x8000))
        return chunk >> 13;
    if (!(chunk & 0x4000))
        return chunk >> (13 - i) & 1;
    return chunk >> (12 - 2 * i) & 3;
}

static int symbols_of(uint16_t chunk) {
    return !(chunk & 0x8000) ? chunk & 0x1fff : !(chunk & 0x4000) ? 14 : 7;
}

static uint16_t get16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

/* The whole packet, to its last byte. */
static void read_back(const uint8_t *p, size_t len) {
    static uint8_t symbols[65536];
    CHECK(len >= 20 && len % 4 == 0);
    CHECK_EQ(p[0], 0x80 | 15);
    CHECK_EQ(p[1], 205);
    CHECK_EQ((size_t)(get16(p + 2) + 1) * 4, len);
    CHECK(get16(p + 4) == 0 && get16(p + 6) == 7 && get16(p + 8) == 0 && get16(p + 10) == 9);
    back.base = get16(p + 12);
    back.packets = get16(p + 14);
    back.count = p[19];
    CHECK(back.packets > 0);
    size_t at = 20;
    for (int n = 0; n < back.packets; at += 2) {
        CHECK(at + 2 <= len);
        uint16_t chunk = get16(p + at);
        CHECK(symbols_of(chunk) > 0);
        for (int i = 0; i < symbols_of(chunk); i++, n++) {
            if (n < back.packets)
                symbols[n] = (uint8_t)symbol_at(chunk, i);
            else /* what is over says "did not come", and only vectors have some over */
                CHECK(chunk & 0x8000 && symbol_at(chunk, i) == 0);
        }
    }
    uint64_t now = (uint64_t)(p[16] << 16 | p[17] << 8 | p[18]) * 256;
    for (int i = 0; i < back.packets; i++) {
        CHECK(symbols[i] <= 2);
        back.tick[i] = 0;
        if (!symbols[i])
            continue;
        CHECK(at + symbols[i] <= len);
        now += (uint64_t)(int64_t)(symbols[i] == 1 ? p[at] : (int16_t)get16(p + at));
        at += symbols[i];
        back.tick[i] = now & 0xffffffff;
    }
    CHECK(len - at < 4);
    for (; at < len; at++)
        CHECK_EQ(p[at], 0);
}

static int written(uint16_t base, const uint64_t *ticks, int packets, size_t room) {
    uint8_t *out = malloc(room ? room : 1);
    CHECK(out != NULL);
    rf_writer w = {out, 0, room};
    int rc = rf_rtcp_write_twcc(&w, 7, 9, 200, base, ticks, packets);
    CHECK(rc > 0 ? w.at <= room : w.at == 0);
    if (rc > 0) {
        memcpy(buffer, out, w.at < sizeof buffer ? w.at : sizeof buffer);
        read_back(out, w.at);
        CHECK(back.base == base && back.packets == rc && back.count == 200 && rc <= packets);
        for (int i = 0; i < rc; i++)
            CHECK(back.tick[i] == (ticks[i] & 0xffffffff));
    }
    free(out);
    return rc;
}

/* Bytes that the draft's own figures lead to. */
static void examples(void) {
    uint64_t three[3] = {256 * 5 + 4, 0, 256 * 5 + 4 + 12};
    CHECK_EQ(written(65534, three, 3, ROOM), 3);
    static const uint8_t want[24] = {0x8f, 205,  0, 5, 0, 0, 0, 7,    0,    0, 0, 9,
                                     0xff, 0xfe, 0, 3, 0, 0, 5, 0xc8, 0xa8, 0, 4, 12};
    CHECK(memcmp(buffer, want, sizeof want) == 0);
    uint64_t run[20];
    for (int i = 0; i < 20; i++)
        run[i] = 1000 + (uint64_t)i;
    CHECK_EQ(written(1, run, 20, ROOM), 20);
    CHECK_EQ(get16(buffer + 20), 1 << 13 | 20); /* small deltas, 20 times */
    uint64_t large[3] = {1000, 5000, 4000};     /* + 1 s, then - 250 ms */
    CHECK_EQ(written(1, large, 3, ROOM), 3);
    CHECK_EQ(get16(buffer + 20), 0xc000 | 1 << 12 | 2 << 10 | 2 << 8);
    CHECK_EQ(get16(buffer + 23), 4000);
    CHECK_EQ((int16_t)get16(buffer + 25), -1000);
    uint64_t none[3000] = {0};
    CHECK_EQ(written(1, none, 3000, ROOM), RF_TWCC_MOST);
}

static void limits(void) {
    uint64_t far[3] = {1000, 1000 + 32767, 1000 + 32767 + 32768};
    CHECK_EQ(written(1, far, 3, ROOM), 2); /* the third is told of in a packet of its own */
    CHECK_EQ(written(3, far + 2, 1, ROOM), 1);
    uint64_t before[2] = {100000, 100000 - 32768};
    CHECK_EQ(written(1, before, 2, ROOM), 2);
    before[1]--;
    CHECK_EQ(written(1, before, 2, ROOM), 1);
    uint64_t wrap[2] = {0xffffffff, 0x100000001}; /* after twelve days */
    CHECK_EQ(written(1, wrap, 2, ROOM), 2);
    rf_writer w = {buffer, 0, ROOM};
    CHECK_EQ(rf_rtcp_write_twcc(&w, 7, 9, 0, 1, far, 0), RF_EINVAL);
    for (size_t room = 0; room < 64; room++) {
        uint64_t many[64];
        for (int i = 0; i < 64; i++)
            many[i] = 1000 + 300 * (uint64_t)i;
        int rc = written(1, many, 64, room);
        CHECK(room < 26 ? rc == RF_ENOSPC : rc > 0 && rc < 64);
    }
}

static void anything_reads_back(uint64_t seed) {
    static uint64_t ticks[RF_TWCC_MOST];
    int packets = (int)(next_random(&seed) % 700) + 1;
    unsigned lossy = (unsigned)(next_random(&seed) % 100), wild = (unsigned)(seed % 40);
    uint64_t now = next_random(&seed) % ((uint64_t)1 << 33) + 100000;
    for (int i = 0; i < packets; i++) {
        int64_t step = next_random(&seed) % 100 < wild
                           ? (int64_t)(next_random(&seed) % 70000) - 35000
                           : (int64_t)(next_random(&seed) % 200);
        if ((int64_t)now + step > 0)
            now += (uint64_t)step;
        ticks[i] = next_random(&seed) % 100 < lossy ? 0 : now;
    }
    for (int at = 0; at < packets;) { /* in as many packets as it takes */
        int rc = written((uint16_t)at, ticks + at, packets - at, 100 + next_random(&seed) % 1100);
        CHECK(rc > 0);
        at += rc;
    }
}

/* ---- the ring ---- */

static uint64_t tick_of(uint64_t ns) {
    return ns / RF_TWCC_TICK_NS + 1;
}

static uint64_t kept(const rf_arrivals *a, uint64_t number) {
    return a->tick[number & (RF_ARRIVALS - 1)];
}

static void ring(void) {
    static rf_arrivals a;
    memset(&a, 0, sizeof a);
    rf_twcc_note(&a, 65534, 1000000);
    uint64_t first = a.begin;
    CHECK(a.end == first + 1 && (first & 0xffff) == 65534);
    rf_twcc_note(&a, 1, 2000000); /* over the edge of 16 bits; two are missing */
    CHECK_EQ(a.end - a.begin, 4);
    CHECK_EQ(kept(&a, first + 1), 0);
    CHECK_EQ(kept(&a, first + 3), tick_of(2000000));
    a.begin = a.end; /* told */
    rf_twcc_note(&a, 65535, 3000000);
    CHECK_EQ(a.begin, first + 1); /* late: told with what came after it */
    CHECK_EQ(kept(&a, first + 1), tick_of(3000000));
    a.begin = a.end;
    rf_twcc_note(&a, 65535, 9000000); /* twice */
    CHECK(a.begin == a.end && kept(&a, first + 1) == tick_of(3000000));
    rf_twcc_note(&a, 65530, 4000000); /* before the first */
    CHECK_EQ(a.begin, first - 4);
    CHECK_EQ(kept(&a, first - 3), 0);
    a.begin = a.end;
    rf_twcc_note(&a, (uint16_t)(1 + RF_ARRIVALS), 5000000); /* as far as can be */
    CHECK_EQ(a.end - a.begin, RF_ARRIVALS);
    CHECK_EQ(kept(&a, a.end - 1), tick_of(5000000));
    for (uint64_t n = a.begin; n < a.end - 1; n++)
        CHECK_EQ(kept(&a, n), 0);
    rf_twcc_note(&a, (uint16_t)(2 + RF_ARRIVALS + 30000), 6000000); /* farther: anew */
    CHECK_EQ(a.end - a.begin, 1);
    rf_twcc_note(&a, 7, 7000000);
    CHECK_EQ(a.end - a.begin, 1);
    CHECK_EQ((uint16_t)a.begin, 7);
}

/* Whatever numbers come: never more than the ring to tell of, and the newest is remembered. */
static void any_numbers(uint64_t seed) {
    static rf_arrivals a;
    memset(&a, 0, sizeof a);
    uint16_t number = (uint16_t)next_random(&seed);
    for (int i = 0; i < 3000; i++) {
        unsigned what = (unsigned)(next_random(&seed) % 50);
        number = what == 0 ? (uint16_t)next_random(&seed)
                           : (uint16_t)(number + (what < 5 ? next_random(&seed) % 100 : 1));
        uint64_t at = 1000000000u + 1000000u * (uint64_t)i;
        int again = a.end && kept(&a, rf_seq_unwrap(a.end, number));
        rf_twcc_note(&a, number, at);
        CHECK(a.begin <= a.end && a.end - a.begin <= RF_ARRIVALS);
        uint64_t n = rf_seq_unwrap(a.end, number);
        CHECK(n < a.end && n + RF_ARRIVALS >= a.end);
        CHECK(again || kept(&a, n) == tick_of(at));
        if (i % 7 == 0)
            a.begin = a.end;
    }
}

int main(void) {
    examples();
    limits();
    ring();
    for (uint64_t seed = 1; seed < 300; seed++) {
        anything_reads_back(seed * 0x9e3779b97f4a7c15u);
        any_numbers(seed * 0x9e3779b97f4a7c15u);
    }
    return done("twcc");
}
