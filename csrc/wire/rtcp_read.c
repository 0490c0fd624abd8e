/* Reading RTCP; see rtcp.h. The whole compound is checked before any of it is handed out. */
#include <string.h>

#include "base/cursor.h"
#include "base/error.h"
#include "wire/rtcp.h"

static size_t item_size(const uint8_t *at) {
    return (rf_peek16(at + 2) + 1u) * 4u;
}

int rf_rtcp_begin(rf_rtcp_walk *w, const uint8_t *data, size_t len) {
    const uint8_t *at = data, *end = data + len;
    w->at = w->end = data;
    if (len < 4)
        return RF_ETRUNC;
    while (at < end) {
        if (end - at < 4 || at[0] >> 6 != 2 || at[1] < 192 || at[1] > 223)
            return RF_ETRUNC;
        size_t size = item_size(at);
        if (size > (size_t)(end - at))
            return RF_ETRUNC;
        if (at[0] & 0x20) { /* padding: on the last one only (RFC 3550 section 6.4.1) */
            uint8_t padding = at[size - 1];
            if (at + size != end || padding == 0 || padding % 4 || padding > size - 4)
                return RF_ETRUNC;
        }
        at += size;
    }
    w->end = end;
    return RF_OK;
}

int rf_rtcp_next(rf_rtcp_walk *w, rf_rtcp_item *item) {
    if (w->at >= w->end)
        return 0;
    size_t size = item_size(w->at);
    item->type = w->at[1];
    item->count = w->at[0] & 0x1f;
    item->body = w->at + 4;
    item->len = size - 4 - (w->at[0] & 0x20 ? w->at[size - 1] : 0u);
    w->at += size;
    return 1;
}

int rf_rtcp_sender_info(const rf_rtcp_item *item, rf_sender_info *out) {
    rf_cursor c = rf_cursor_of(item->body, item->len);
    out->ssrc = rf_get32(&c);
    uint64_t high = rf_get32(&c);
    out->ntp = high << 32 | rf_get32(&c);
    out->rtp_ts = rf_get32(&c);
    out->packets = rf_get32(&c);
    out->octets = rf_get32(&c);
    return c.bad || item->type != RF_RTCP_SR ? RF_ETRUNC : RF_OK;
}

int rf_rtcp_report(const rf_rtcp_item *item, int index, rf_report_block *out) {
    size_t head = item->type == RF_RTCP_SR ? 24 : 4;
    if (index < 0 || index >= item->count || item->len < head)
        return RF_ETRUNC;
    rf_cursor c = rf_cursor_of(item->body + head, item->len - head);
    rf_take(&c, (size_t)index * 24u);
    out->ssrc = rf_get32(&c);
    uint32_t lost = rf_get32(&c);
    out->fraction_lost = (uint8_t)(lost >> 24);
    out->cumulative_lost = (int32_t)(lost & 0xffffff) - (lost & 0x800000 ? 0x1000000 : 0);
    out->highest_seq = rf_get32(&c);
    out->jitter = rf_get32(&c);
    out->lsr = rf_get32(&c);
    out->dlsr = rf_get32(&c);
    return c.bad ? RF_ETRUNC : RF_OK;
}

int rf_rtcp_nack(const rf_rtcp_item *item, uint32_t *media_ssrc, int *pairs) {
    if (item->len < 8)
        return RF_ETRUNC;
    *media_ssrc = rf_peek32(item->body + 4);
    *pairs = (int)((item->len - 8) / 4);
    return RF_OK;
}

void rf_rtcp_nack_pair(const rf_rtcp_item *item, int index, uint16_t *pid, uint16_t *blp) {
    *pid = rf_peek16(item->body + 8 + index * 4);
    *blp = rf_peek16(item->body + 10 + index * 4);
}

int rf_rtcp_pli(const rf_rtcp_item *item, uint32_t *media_ssrc) {
    if (item->len < 8)
        return RF_ETRUNC;
    *media_ssrc = rf_peek32(item->body + 4);
    return RF_OK;
}

int rf_rtcp_fir(const rf_rtcp_item *item, int index, uint32_t *ssrc, uint8_t *seq) {
    if (index < 0 || item->len < 16u + 8u * (size_t)index)
        return RF_ETRUNC;
    *ssrc = rf_peek32(item->body + 8 + index * 8);
    *seq = item->body[12 + index * 8];
    return RF_OK;
}

int rf_rtcp_rrtr(const rf_rtcp_item *item, uint32_t *ssrc, uint64_t *ntp) {
    enum { RRTR = 4 };
    rf_cursor c = rf_cursor_of(item->body, item->len);
    int found = 0;
    *ssrc = rf_get32(&c);
    while (!c.bad && rf_left(&c)) {
        uint32_t head = rf_get32(&c);
        const uint8_t *block = rf_take(&c, (size_t)(head & 0xffff) * 4u);
        if (block && head >> 24 == RRTR && (head & 0xffff) == 2) {
            *ntp = (uint64_t)rf_peek32(block) << 32 | rf_peek32(block + 4);
            found = 1;
        }
    }
    return c.bad || !found || item->type != RF_RTCP_XR ? RF_ETRUNC : RF_OK;
}

int rf_rtcp_remb(const rf_rtcp_item *item, uint64_t *bps) {
    if (item->len < 16 || memcmp(item->body + 8, "REMB", 4) != 0)
        return RF_ETRUNC;
    uint32_t packed = rf_peek32(item->body + 12);
    unsigned exponent = packed >> 18 & 0x3f;
    uint64_t mantissa = packed & 0x3ffff;
    *bps = exponent > 45 ? UINT64_MAX : mantissa << exponent;
    return RF_OK;
}
