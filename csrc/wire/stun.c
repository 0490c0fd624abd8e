/* Finds the ufrag that a STUN message is addressed to, and nothing else: integrity, fingerprint
 * and the answer belong to the control plane (RFC 8489 sections 5, 14, 14.3).
 *
 *   0      2      4            8                20
 *   | type | len  | 0x2112a442 | transaction id | type | len | value, padded to 4 | …
 */
#include "wire/stun.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

enum {
    STUN_HEADER = 20,
    STUN_COOKIE = 0x2112a442,
    ATTR_USERNAME = 0x0006,
};

uint16_t rf_stun_type(const uint8_t *data) {
    return rf_peek16(data) & 0x3fff;
}

/* The part of USERNAME before the colon; RF_ETRUNC when there is no colon or nothing before it. */
static int split_username(const uint8_t *name, size_t len, const uint8_t **ufrag,
                          size_t *ufrag_len) {
    const uint8_t *colon = len > 0 ? memchr(name, ':', len) : NULL;
    if (colon == NULL || colon == name)
        return RF_ETRUNC;
    *ufrag = name;
    *ufrag_len = (size_t)(colon - name);
    return RF_OK;
}

int rf_stun_username(const uint8_t *data, size_t len, const uint8_t **ufrag, size_t *ufrag_len) {
    *ufrag = NULL;
    *ufrag_len = 0;
    rf_cursor c = rf_cursor_of(data, len);
    uint16_t type = rf_get16(&c);
    uint16_t body = rf_get16(&c);
    uint32_t cookie = rf_get32(&c);
    rf_take(&c, 12);
    if (c.bad || (type & 0xc000) != 0 || cookie != STUN_COOKIE)
        return RF_ETRUNC;
    if (body % 4 != 0 || body != len - STUN_HEADER)
        return RF_ETRUNC;
    const uint8_t *name = NULL;
    size_t name_len = 0;
    while (rf_left(&c) > 0) {
        uint16_t attr = rf_get16(&c);
        uint16_t size = rf_get16(&c);
        const uint8_t *value = rf_take(&c, size);
        rf_take(&c, (size_t)(-size & 3));
        if (c.bad)
            return RF_ETRUNC;
        if (attr == ATTR_USERNAME && name == NULL) { /* of doubles the first counts: section 14 */
            name = value;
            name_len = size;
        }
    }
    return name == NULL ? RF_OK : split_username(name, name_len, ufrag, ufrag_len);
}
