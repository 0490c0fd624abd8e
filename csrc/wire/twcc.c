/* See twcc.h. Chunks are chosen greedily, each time the one that tells of most packets: a run of
 * one status, 14 statuses of one bit, or 7 of two. */
#include "wire/twcc.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

enum { LOST = 0, SMALL = 1, LARGE = 2 }; /* also the bytes of its delta */
enum { HEAD = 20, REFERENCE = 256, MOST_RUN = 8191, ONE_BIT = 14, TWO_BIT = 7 };

/* Steps from the arrival before this one; the first counts from the reference time. */
static int64_t delta_of(uint64_t before, uint64_t tick) {
    return (int64_t)(tick - before);
}

static uint64_t reference_of(uint64_t tick) {
    return tick / REFERENCE * REFERENCE;
}

static int symbol_of(int64_t delta) {
    if (delta >= 0 && delta <= 255)
        return SMALL;
    return delta >= INT16_MIN && delta <= INT16_MAX ? LARGE : -1;
}

/* Statuses of as many packets as fit into `room` bytes; how many, and in *deltas the bytes of their
 * deltas. No chunk tells of fewer than 7 packets but the last. */
static int classify(const uint64_t *ticks, int packets, size_t room, uint8_t *symbols,
                    size_t *deltas) {
    uint64_t before = 0;
    int any = 0, n = 0;
    *deltas = 0;
    for (; n < packets && n < RF_TWCC_MOST; n++) {
        int symbol = LOST;
        if (ticks[n]) {
            symbol = symbol_of(delta_of(any ? before : reference_of(ticks[n]), ticks[n]));
            if (symbol < 0)
                break;
        }
        size_t chunks = 2u * ((size_t)n / TWO_BIT + 1);
        if (HEAD + chunks + *deltas + (size_t)symbol + 3 > room)
            break;
        if (symbol) {
            before = ticks[n];
            any = 1;
        }
        symbols[n] = (uint8_t)symbol;
        *deltas += (size_t)symbol;
    }
    return n;
}

static int run_of(const uint8_t *symbols, int left) {
    int n = 1;
    while (n < left && n < MOST_RUN && symbols[n] == symbols[0])
        n++;
    return n;
}

/* Can one bit each tell of the next 14, or of all that are left? */
static int fits_one_bit(const uint8_t *symbols, int left) {
    for (int i = 0; i < left && i < ONE_BIT; i++)
        if (symbols[i] == LARGE)
            return 0;
    return 1;
}

/* One chunk; how many packets it tells of. */
static int chunk(const uint8_t *symbols, int left, uint8_t *out) {
    int run = run_of(symbols, left);
    int one = !fits_one_bit(symbols, left) ? 0 : left < ONE_BIT ? left : ONE_BIT;
    int two = left < TWO_BIT ? left : TWO_BIT;
    uint16_t bits;
    if (run >= one && run >= two) {
        rf_put16(out, (uint16_t)(symbols[0] << 13 | run));
        return run;
    }
    if (one >= two) {
        bits = 0x8000;
        for (int i = 0; i < one; i++)
            bits = (uint16_t)(bits | symbols[i] << (13 - i));
        rf_put16(out, bits);
        return one;
    }
    bits = 0xc000;
    for (int i = 0; i < two; i++)
        bits = (uint16_t)(bits | symbols[i] << (12 - 2 * i));
    rf_put16(out, bits);
    return two;
}

int rf_rtcp_write_twcc(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc, uint8_t count,
                       uint16_t base, const uint64_t *ticks, int packets) {
    uint8_t symbols[RF_TWCC_MOST];
    size_t deltas;
    if (packets < 1)
        return RF_EINVAL;
    int told = classify(ticks, packets, w->cap - w->at, symbols, &deltas);
    if (told == 0)
        return RF_ENOSPC;
    uint8_t *p = w->out + w->at;
    size_t at = HEAD;
    for (int i = 0; i < told; at += 2)
        i += chunk(symbols + i, told - i, p + at);
    uint64_t before = 0;
    for (int i = 0; i < told; i++) {
        if (!symbols[i])
            continue;
        if (!before) {
            before = reference_of(ticks[i]);
            rf_put32(p + 16, (uint32_t)(before / REFERENCE) << 8);
        }
        int64_t delta = delta_of(before, ticks[i]);
        if (symbols[i] == LARGE)
            rf_put16(p + at, (uint16_t)delta);
        else
            p[at] = (uint8_t)delta;
        at += symbols[i];
        before = ticks[i];
    }
    if (!before)
        rf_put32(p + 16, 0); /* nothing came: no time to refer to */
    p[19] = count;
    while (at % 4)
        p[at++] = 0;
    p[0] = 0x80 | 15;
    p[1] = RF_RTCP_RTPFB;
    rf_put16(p + 2, (uint16_t)(at / 4 - 1));
    rf_put32(p + 4, sender_ssrc);
    rf_put32(p + 8, media_ssrc);
    rf_put16(p + 12, base);
    rf_put16(p + 14, (uint16_t)told);
    w->at += at;
    return told;
}
