/* SHA-1 (FIPS 180-4) and HMAC-SHA1 (RFC 2104) over short messages: what STUN's MESSAGE-INTEGRITY
 * needs, nothing else. The padded key is hashed once and kept. */
#ifndef RF_WIRE_SHA1_H
#define RF_WIRE_SHA1_H

#include <stddef.h>
#include <stdint.h>

#define RF_SHA1_BYTES 20

typedef struct rf_hmac_key {
    uint32_t inner[5], outer[5]; /* the hash after the padded key's one block */
} rf_hmac_key;

void rf_hmac_key_init(rf_hmac_key *k, const uint8_t *key, size_t len);

/* HMAC over two pieces, one behind the other. */
void rf_hmac_sha1(const rf_hmac_key *k, const uint8_t *a, size_t a_len, const uint8_t *b,
                  size_t b_len, uint8_t out[RF_SHA1_BYTES]);

void rf_sha1(const uint8_t *data, size_t len, uint8_t out[RF_SHA1_BYTES]);

#endif
