/* See stun.h. */
#include "wire/stun.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

enum { HEADER = 20, USERNAME = 0x0006 };
static const uint32_t COOKIE = 0x2112A442;

uint16_t rf_stun_type(const uint8_t *data) {
    return rf_peek16(data);
}

int rf_stun_username(const uint8_t *data, size_t len, const uint8_t **ufrag, size_t *ufrag_len) {
    *ufrag = NULL;
    *ufrag_len = 0;
    if (len < HEADER || rf_peek32(data + 4) != COOKIE ||
        (size_t)rf_peek16(data + 2) + HEADER != len || len % 4)
        return RF_ETRUNC;
    rf_cursor c = rf_cursor_of(data + HEADER, len - HEADER);
    while (rf_left(&c) > 0) {
        uint16_t type = rf_get16(&c);
        uint16_t size = rf_get16(&c);
        const uint8_t *value = rf_take(&c, size);
        rf_take(&c, (4u - size % 4u) % 4u);
        if (c.bad)
            return RF_ETRUNC;
        if (type != USERNAME)
            continue;
        const uint8_t *colon = memchr(value, ':', size);
        if (!colon || colon == value)
            return RF_ETRUNC;
        *ufrag = value;
        *ufrag_len = (size_t)(colon - value);
        return RF_OK;
    }
    return RF_OK;
}
