/* Bounded reader: the only way bytes from the network are read. A read past the end sets `bad`
 * and returns zero, so a parser may read a whole record and test `bad` once. */
#ifndef RF_BASE_CURSOR_H
#define RF_BASE_CURSOR_H

#include <stddef.h>
#include <stdint.h>

typedef struct rf_cursor {
    const uint8_t *at;
    const uint8_t *end;
    int bad;
} rf_cursor;

static inline rf_cursor rf_cursor_of(const uint8_t *data, size_t len) {
    rf_cursor c = {data, data + len, 0};
    return c;
}

static inline size_t rf_left(const rf_cursor *c) {
    return (size_t)(c->end - c->at);
}

static inline uint8_t rf_get8(rf_cursor *c) {
    if (rf_left(c) < 1) {
        c->bad = 1;
        return 0;
    }
    return *c->at++;
}

static inline uint16_t rf_get16(rf_cursor *c) {
    if (rf_left(c) < 2) {
        c->bad = 1;
        c->at = c->end;
        return 0;
    }
    uint16_t v = (uint16_t)(c->at[0] << 8 | c->at[1]);
    c->at += 2;
    return v;
}

static inline uint32_t rf_get32(rf_cursor *c) {
    uint32_t hi = rf_get16(c);
    return hi << 16 | rf_get16(c);
}

/* n bytes in place, or NULL. */
static inline const uint8_t *rf_take(rf_cursor *c, size_t n) {
    if (rf_left(c) < n) {
        c->bad = 1;
        c->at = c->end;
        return NULL;
    }
    const uint8_t *p = c->at;
    c->at += n;
    return p;
}

static inline void rf_put16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static inline void rf_put32(uint8_t *p, uint32_t v) {
    rf_put16(p, (uint16_t)(v >> 16));
    rf_put16(p + 2, (uint16_t)v);
}

static inline void rf_put64(uint8_t *p, uint64_t v) {
    rf_put32(p, (uint32_t)(v >> 32));
    rf_put32(p + 4, (uint32_t)v);
}

static inline uint16_t rf_peek16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t rf_peek32(const uint8_t *p) {
    return (uint32_t)rf_peek16(p) << 16 | rf_peek16(p + 2);
}

#endif
