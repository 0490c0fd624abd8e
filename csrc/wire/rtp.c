/* Parses one decrypted RTP packet (RFC 3550 section 5.1, extension head 5.3.1).
 *
 *   |V=2|P|X| CC |M| PT | seq | timestamp | SSRC | CSRC × CC |
 *   | profile | words |  extension: 4 × words  |  payload  |  padding … count |
 */
#include "wire/rtp.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"

int rf_rtp_parse(const uint8_t *data, size_t len, rf_rtp *out) {
    memset(out, 0, sizeof *out);
    rf_cursor c = rf_cursor_of(data, len);
    uint8_t first = rf_get8(&c);
    uint8_t second = rf_get8(&c);
    out->seq = rf_get16(&c);
    out->ts = rf_get32(&c);
    out->ssrc = rf_get32(&c);
    if (c.bad || first >> 6 != 2)
        return RF_ETRUNC;
    out->marker = second >> 7;
    out->pt = second & 0x7f;
    out->csrc_count = first & 0x0f;
    rf_take(&c, (size_t)out->csrc_count * 4);
    if (first & 0x10) {
        out->ext_profile = rf_get16(&c);
        out->ext_len = (size_t)rf_get16(&c) * 4;
        out->ext = rf_take(&c, out->ext_len);
    }
    if (c.bad)
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
