/* See classify.h. RTCP is told from RTP by its second byte alone (RFC 5761 section 4): 192..223, so
 * dynamic payload types 64..95 with a marker are never used for RTP here. */
#include "wire/classify.h"

enum rf_class rf_classify(const uint8_t *data, size_t len) {
    if (len == 0)
        return RF_CLASS_SHORT;
    uint8_t first = data[0];
    if (first <= 3)
        return len >= 20 ? RF_CLASS_STUN : RF_CLASS_SHORT;
    if (first >= 20 && first <= 63)
        return len >= 13 ? RF_CLASS_DTLS : RF_CLASS_SHORT;
    if (first < 128 || first > 191)
        return RF_CLASS_UNKNOWN;
    if (len < 2)
        return RF_CLASS_SHORT;
    if (data[1] >= 192 && data[1] <= 223)
        return len >= 8 ? RF_CLASS_RTCP : RF_CLASS_SHORT;
    return len >= 12 ? RF_CLASS_RTP : RF_CLASS_SHORT;
}
