/* See stun_check.h. */
#include "wire/stun_check.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

enum {
    HEADER = 20,
    BINDING_REQUEST = 0x0001,
    BINDING_SUCCESS = 0x0101,
    USERNAME = 0x0006,
    INTEGRITY = 0x0008,
    XOR_MAPPED_ADDRESS = 0x0020,
    PRIORITY = 0x0024,
    USE_CANDIDATE = 0x0025,
    OPTIONAL = 0x8000,
    FINGERPRINT = 0x8028,
    ICE_CONTROLLED = 0x8029,
    INTEGRITY_SIZE = 4 + RF_SHA1_BYTES,
    FINGERPRINT_SIZE = 8,
};
static const uint32_t COOKIE = 0x2112A442, FINGERPRINT_XOR = 0x5354554E;

int rf_stun_check_read(const uint8_t *data, size_t len, rf_stun_check *out) {
    int named = 0;
    memset(out, 0, sizeof *out);
    if (len < HEADER || len % 4 || rf_peek32(data + 4) != COOKIE ||
        (size_t)rf_peek16(data + 2) + HEADER != len)
        return RF_ETRUNC;
    if (rf_peek16(data) != BINDING_REQUEST)
        return RF_EINVAL;
    rf_cursor c = rf_cursor_of(data + HEADER, len - HEADER);
    while (rf_left(&c) > 0) {
        size_t at = (size_t)(c.at - data);
        uint16_t type = rf_get16(&c), size = rf_get16(&c);
        rf_take(&c, size);
        rf_take(&c, (4u - size % 4u) % 4u);
        if (c.bad)
            return RF_ETRUNC;
        if (out->integrity_at) { /* only FINGERPRINT counts behind it */
            if (type != FINGERPRINT)
                return RF_EINVAL;
            continue;
        }
        named |= type == USERNAME;
        out->use_candidate |= type == USE_CANDIDATE;
        if (type == INTEGRITY && size == RF_SHA1_BYTES)
            out->integrity_at = at;
        else if (type == ICE_CONTROLLED ||
                 (type < OPTIONAL && type != USERNAME && type != PRIORITY && type != USE_CANDIDATE))
            return RF_EINVAL;
    }
    return named && out->integrity_at ? RF_OK : RF_EINVAL;
}

/* HMAC over a message up to its integrity attribute, with the length that ends behind it. */
static void integrity(const uint8_t *data, size_t at, const rf_hmac_key *key,
                      uint8_t out[RF_SHA1_BYTES]) {
    uint8_t head[4];
    memcpy(head, data, 2);
    rf_put16(head + 2, (uint16_t)(at + INTEGRITY_SIZE - HEADER));
    rf_hmac_sha1(key, head, sizeof head, data + 4, at - 4, out);
}

int rf_stun_check_verify(const uint8_t *data, const rf_stun_check *c, const rf_hmac_key *key) {
    uint8_t want[RF_SHA1_BYTES], differs = 0;
    integrity(data, c->integrity_at, key, want);
    for (int i = 0; i < RF_SHA1_BYTES; i++) /* in constant time */
        differs |= (uint8_t)(want[i] ^ data[c->integrity_at + 4 + (size_t)i]);
    return differs == 0;
}

/* CRC-32 of ITU V.42 (RFC 8489 section 14.7). */
static uint32_t crc32_of(const uint8_t *data, size_t len) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < len; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320 : 0);
    }
    return ~crc;
}

static size_t write_address(const uint8_t *request, const rf_path *path, uint8_t *out) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    int v4 = memcmp(path->remote_ip, mapped, sizeof mapped) == 0;
    const uint8_t *ip = v4 ? path->remote_ip + 12 : path->remote_ip;
    size_t size = v4 ? 4 : 16;
    rf_put16(out, XOR_MAPPED_ADDRESS);
    rf_put16(out + 2, (uint16_t)(4 + size));
    rf_put16(out + 4, v4 ? 1 : 2);
    rf_put16(out + 6, (uint16_t)(path->remote_port ^ (COOKIE >> 16)));
    for (size_t i = 0; i < size; i++) /* cookie and transaction id stand in a row */
        out[8 + i] = (uint8_t)(ip[i] ^ request[4 + i]);
    return 8 + size;
}

size_t rf_stun_write_success(const uint8_t *request, const rf_path *path, const rf_hmac_key *key,
                             uint8_t out[RF_STUN_REPLY]) {
    rf_put16(out, BINDING_SUCCESS);
    memcpy(out + 4, request + 4, 16);
    size_t at = HEADER + write_address(request, path, out + HEADER);
    rf_put16(out + 2, (uint16_t)(at + INTEGRITY_SIZE - HEADER));
    rf_put16(out + at, INTEGRITY);
    rf_put16(out + at + 2, RF_SHA1_BYTES);
    integrity(out, at, key, out + at + 4);
    at += INTEGRITY_SIZE;
    rf_put16(out + 2, (uint16_t)(at + FINGERPRINT_SIZE - HEADER));
    rf_put16(out + at, FINGERPRINT);
    rf_put16(out + at + 2, 4);
    rf_put32(out + at + 4, crc32_of(out, at) ^ FINGERPRINT_XOR);
    return at + FINGERPRINT_SIZE;
}
