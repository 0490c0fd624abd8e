/* Sorts a datagram by its first byte, RTP from RTCP by its second (RFC 7983 section 7, RFC 5761
 * section 4). Dynamic payload types 35..63 are RTP: with the marker bit they read 163..191, below
 * the RTCP range. ZRTP, TURN channels and QUIC are not ours and stay unknown. */
#include "wire/classify.h"

enum rf_class rf_classify(const uint8_t *data, size_t len) {
    if (len == 0)
        return RF_CLASS_UNKNOWN;
    uint8_t first = data[0];
    if (first <= 3)
        return len >= 20 ? RF_CLASS_STUN : RF_CLASS_SHORT;
    if (first >= 20 && first <= 63)
        return len >= 13 ? RF_CLASS_DTLS : RF_CLASS_SHORT;
    if (first < 128 || first > 191)
        return RF_CLASS_UNKNOWN;
    if (len < 8)
        return RF_CLASS_SHORT;
    if (data[1] >= 192 && data[1] <= 223)
        return RF_CLASS_RTCP;
    return len >= 12 ? RF_CLASS_RTP : RF_CLASS_SHORT;
}
