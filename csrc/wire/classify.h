/* What a datagram is, from its first bytes (RFC 7983; RTP against RTCP by RFC 5761). */
#ifndef RF_WIRE_CLASSIFY_H
#define RF_WIRE_CLASSIFY_H

#include <stddef.h>
#include <stdint.h>

enum rf_class {
    RF_CLASS_UNKNOWN,
    RF_CLASS_STUN,  /* 0..3 and at least 20 bytes */
    RF_CLASS_DTLS,  /* 20..63 and at least 13 bytes */
    RF_CLASS_RTP,   /* 128..191 and at least 12 bytes */
    RF_CLASS_RTCP,  /* 128..191, second byte 192..223, at least 8 bytes */
    RF_CLASS_SHORT, /* the first byte is of a known protocol, the rest is missing */
};

enum rf_class rf_classify(const uint8_t *data, size_t len);

#endif
