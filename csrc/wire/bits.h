/* Bits of a NAL unit's payload, past emulation prevention bytes (00 00 03: ITU-T H.264 7.4.1, H.265
 * 7.4.2): fixed, ue(v), se(v). Bounded: at the end `bad` is set, and all is 0 from there on. */
#ifndef RF_WIRE_BITS_H
#define RF_WIRE_BITS_H

#include <stddef.h>
#include <stdint.h>

typedef struct rf_bits {
    const uint8_t *p;
    size_t len, at;
    unsigned bit;   /* of p[at], from the top */
    unsigned zeros; /* zero bytes just before p[at] */
    int bad;
} rf_bits;

static inline rf_bits rf_bits_of(const uint8_t *p, size_t len) {
    return (rf_bits){p, len, 0, 0, 0, 0};
}

static inline unsigned rf_get_bit(rf_bits *b) {
    if (b->bit == 0 && b->at < b->len && b->zeros >= 2 && b->p[b->at] == 3) {
        b->at++;
        b->zeros = 0;
    }
    if (b->at >= b->len) {
        b->bad = 1;
        return 0;
    }
    unsigned value = b->p[b->at] >> (7 - b->bit) & 1;
    if (++b->bit == 8) {
        b->zeros = b->p[b->at] ? 0 : b->zeros + 1;
        b->bit = 0;
        b->at++;
    }
    return value;
}

static inline void rf_skip_bits(rf_bits *b, unsigned n) {
    while (n--)
        rf_get_bit(b);
}

static inline uint32_t rf_get_ue(rf_bits *b) {
    unsigned zeros = 0;
    while (!rf_get_bit(b)) {
        if (b->bad || ++zeros > 31) {
            b->bad = 1;
            return 0;
        }
    }
    uint32_t value = 0;
    for (unsigned i = 0; i < zeros; i++)
        value = value << 1 | rf_get_bit(b);
    return (1u << zeros) - 1 + value;
}

static inline int32_t rf_get_se(rf_bits *b) {
    uint32_t v = rf_get_ue(b);
    return v & 1 ? (int32_t)((v >> 1) + 1) : -(int32_t)(v >> 1);
}

#endif
