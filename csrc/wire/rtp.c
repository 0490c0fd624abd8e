/* See rtp.h. */
#include "wire/rtp.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

int rf_rtp_parse(const uint8_t *data, size_t len, rf_rtp *out) {
    rf_cursor c = rf_cursor_of(data, len);
    memset(out, 0, sizeof *out);
    uint8_t first = rf_get8(&c);
    uint8_t second = rf_get8(&c);
    out->marker = second >> 7;
    out->pt = second & 0x7f;
    out->seq = rf_get16(&c);
    out->ts = rf_get32(&c);
    out->ssrc = rf_get32(&c);
    out->csrc_count = first & 0x0f;
    rf_take(&c, out->csrc_count * 4u);
    if (first & 0x10) {
        out->ext_profile = rf_get16(&c);
        out->ext_len = rf_get16(&c) * 4u;
        out->ext = rf_take(&c, out->ext_len);
    }
    if (c.bad || first >> 6 != 2)
        return RF_ETRUNC;
    out->payload = c.at;
    out->payload_len = rf_left(&c);
    if (first & 0x20) {
        if (out->payload_len == 0)
            return RF_ETRUNC;
        out->padding = c.end[-1];
        if (out->padding == 0 || out->padding > out->payload_len)
            return RF_ETRUNC;
        out->payload_len -= out->padding;
    }
    return RF_OK;
}
