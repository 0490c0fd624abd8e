/* The RTP fixed header, CSRCs, extension block and padding (RFC 3550 section 5.1). */
#ifndef RF_WIRE_RTP_H
#define RF_WIRE_RTP_H

#include <stddef.h>
#include <stdint.h>

#define RF_RTP_HEADER 12

typedef struct rf_rtp {
    uint8_t marker;
    uint8_t pt;
    uint16_t seq;
    uint32_t ts;
    uint32_t ssrc;
    uint8_t csrc_count;     /* 0..15; the CSRCs stand at data + 12 */
    uint16_t ext_profile;   /* 0 when there is no extension block */
    const uint8_t *ext;     /* the block's content behind its 4-byte head, or NULL */
    size_t ext_len;         /* a multiple of 4 */
    const uint8_t *payload; /* behind CSRCs and extensions */
    size_t payload_len;     /* without padding */
    uint8_t padding;        /* bytes of padding, its count byte included */
} rf_rtp;

/* data is a *decrypted* packet. RF_ETRUNC on a wrong version, a short header, an extension or a
 * padding that reaches past the end, or a padding count of 0. */
int rf_rtp_parse(const uint8_t *data, size_t len, rf_rtp *out);

#endif
