/* See sha1.h. */
#include "wire/sha1.h"

#include <string.h>

#include "base/cursor.h"

typedef struct sha1 {
    uint32_t h[5];
    uint64_t total; /* bytes so far */
    uint8_t block[64];
} sha1;

static const uint32_t start[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};

static uint32_t rotate(uint32_t v, int n) {
    return v << n | v >> (32 - n);
}

static void compress(uint32_t h[5], const uint8_t *block) {
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    for (int i = 0; i < 16; i++)
        w[i] = rf_peek32(block + 4 * i);
    for (int i = 16; i < 80; i++)
        w[i] = rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (int i = 0; i < 80; i++) {
        uint32_t f, k;
        if (i < 20) {
            f = (b & c) | (~b & d);
            k = 0x5A827999;
        } else if (i < 40) {
            f = b ^ c ^ d;
            k = 0x6ED9EBA1;
        } else if (i < 60) {
            f = (b & c) | (b & d) | (c & d);
            k = 0x8F1BBCDC;
        } else {
            f = b ^ c ^ d;
            k = 0xCA62C1D6;
        }
        uint32_t next = rotate(a, 5) + f + e + k + w[i];
        e = d;
        d = c;
        c = rotate(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

static void begin(sha1 *s, const uint32_t h[5], uint64_t already) {
    memcpy(s->h, h, sizeof s->h);
    s->total = already;
}

static void add(sha1 *s, const uint8_t *data, size_t len) {
    while (len > 0) {
        size_t at = s->total % 64, n = 64 - at < len ? 64 - at : len;
        memcpy(s->block + at, data, n);
        s->total += n;
        data += n;
        len -= n;
        if (s->total % 64 == 0)
            compress(s->h, s->block);
    }
}

static void finish(sha1 *s, uint8_t out[RF_SHA1_BYTES]) {
    static const uint8_t zeros[64];
    uint8_t bits[8], one = 0x80;
    rf_put64(bits, s->total * 8);
    add(s, &one, 1);
    size_t at = s->total % 64;
    add(s, zeros, at <= 56 ? 56 - at : 120 - at);
    add(s, bits, sizeof bits);
    for (int i = 0; i < 5; i++)
        rf_put32(out + 4 * i, s->h[i]);
}

void rf_sha1(const uint8_t *data, size_t len, uint8_t out[RF_SHA1_BYTES]) {
    sha1 s;
    begin(&s, start, 0);
    add(&s, data, len);
    finish(&s, out);
}

void rf_hmac_key_init(rf_hmac_key *k, const uint8_t *key, size_t len) {
    uint8_t block[64] = {0};
    if (len > sizeof block)
        rf_sha1(key, len, block);
    else if (len)
        memcpy(block, key, len);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36;
    memcpy(k->inner, start, sizeof start);
    compress(k->inner, block);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] ^= 0x36 ^ 0x5c;
    memcpy(k->outer, start, sizeof start);
    compress(k->outer, block);
}

void rf_hmac_sha1(const rf_hmac_key *k, const uint8_t *a, size_t a_len, const uint8_t *b,
                  size_t b_len, uint8_t out[RF_SHA1_BYTES]) {
    sha1 s;
    begin(&s, k->inner, 64);
    add(&s, a, a_len);
    add(&s, b, b_len);
    finish(&s, out);
    begin(&s, k->outer, 64);
    add(&s, out, RF_SHA1_BYTES);
    finish(&s, out);
}
