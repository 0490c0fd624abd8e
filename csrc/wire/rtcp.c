/* Reads RTCP (RFC 3550 section 6, RFC 4585, RFC 5104, draft-alvestrand-rmcat-remb).
 *
 *   |V=2|P| count:5 | type:8 | words - 1:16 | body … | padding … count |
 *
 * rf_rtcp_begin validates the whole compound, so that a walk never fails half way and no part of
 * a malformed packet takes effect. Reduced-size packets (RFC 5506) pass: the first item may be of
 * any type. Which items are welcome from whom is the caller's to say.
 */
#include "wire/rtcp.h"

#include "base/cursor.h"
#include "base/error.h"

enum {
    HEAD = 4,
    REPORT_BLOCK = 24,
    SENDER_INFO = 24, /* with the SSRC in front */
    FEEDBACK = 8,     /* sender SSRC, media SSRC */
    REMB_ID = 0x52454d42,
};

/* Bytes of padding that the packet's last byte claims, or -1 when that cannot be. */
static int padding_of(const uint8_t *packet, size_t total) {
    uint8_t pad = total > HEAD ? packet[total - 1] : 0;
    return pad == 0 || pad % 4 != 0 || pad > total - HEAD ? -1 : pad;
}

int rf_rtcp_begin(rf_rtcp_walk *w, const uint8_t *data, size_t len) {
    rf_cursor c = rf_cursor_of(data, len);
    w->at = w->end = data;
    if (len == 0)
        return RF_ETRUNC;
    while (rf_left(&c) > 0) {
        const uint8_t *packet = c.at;
        uint8_t first = rf_get8(&c);
        rf_get8(&c);
        size_t body = (size_t)rf_get16(&c) * 4;
        rf_take(&c, body);
        if (c.bad || first >> 6 != 2)
            return RF_ETRUNC;
        /* Only the last packet of a compound may be padded (RFC 3550 section 6.4.1). */
        if (first & 0x20 && (rf_left(&c) > 0 || padding_of(packet, HEAD + body) < 0))
            return RF_ETRUNC;
    }
    w->end = data + len;
    return RF_OK;
}

int rf_rtcp_next(rf_rtcp_walk *w, rf_rtcp_item *item) {
    if (w->at >= w->end)
        return 0;
    const uint8_t *packet = w->at;
    size_t body = (size_t)rf_peek16(packet + 2) * 4;
    item->type = packet[1];
    item->count = packet[0] & 0x1f;
    item->body = packet + HEAD;
    item->len = body - (packet[0] & 0x20 ? (size_t)packet[HEAD + body - 1] : 0);
    w->at += HEAD + body;
    return 1;
}

int rf_rtcp_sender_info(const rf_rtcp_item *item, rf_sender_info *out) {
    if (item->type != RF_RTCP_SR || item->len < SENDER_INFO)
        return RF_ETRUNC;
    const uint8_t *p = item->body;
    out->ssrc = rf_peek32(p);
    out->ntp = (uint64_t)rf_peek32(p + 4) << 32 | rf_peek32(p + 8);
    out->rtp_ts = rf_peek32(p + 12);
    out->packets = rf_peek32(p + 16);
    out->octets = rf_peek32(p + 20);
    return RF_OK;
}

int rf_rtcp_report(const rf_rtcp_item *item, int index, rf_report_block *out) {
    size_t lead = item->type == RF_RTCP_SR ? SENDER_INFO : 4;
    if (item->type != RF_RTCP_SR && item->type != RF_RTCP_RR)
        return RF_ETRUNC;
    if (index < 0 || index >= item->count || item->len < lead + ((size_t)index + 1) * REPORT_BLOCK)
        return RF_ETRUNC;
    const uint8_t *p = item->body + lead + (size_t)index * REPORT_BLOCK;
    uint32_t lost = rf_peek32(p + 4) & 0xffffff;
    out->ssrc = rf_peek32(p);
    out->fraction_lost = p[4];
    out->cumulative_lost = (int32_t)lost - (lost & 0x800000 ? 0x1000000 : 0);
    out->highest_seq = rf_peek32(p + 8);
    out->jitter = rf_peek32(p + 12);
    out->lsr = rf_peek32(p + 16);
    out->dlsr = rf_peek32(p + 20);
    return RF_OK;
}

static int is_feedback(const rf_rtcp_item *item, uint8_t type, uint8_t format, size_t least) {
    return item->type == type && item->count == format && item->len >= FEEDBACK + least;
}

int rf_rtcp_nack(const rf_rtcp_item *item, uint32_t *media_ssrc, int *pairs) {
    if (!is_feedback(item, RF_RTCP_RTPFB, 1, 4))
        return RF_ETRUNC;
    *media_ssrc = rf_peek32(item->body + 4);
    *pairs = (int)((item->len - FEEDBACK) / 4);
    return RF_OK;
}

void rf_rtcp_nack_pair(const rf_rtcp_item *item, int index, uint16_t *pid, uint16_t *blp) {
    size_t at = FEEDBACK + (size_t)index * 4;
    *pid = *blp = 0;
    if (index < 0 || at + 4 > item->len)
        return;
    *pid = rf_peek16(item->body + at);
    *blp = rf_peek16(item->body + at + 2);
}

int rf_rtcp_pli(const rf_rtcp_item *item, uint32_t *media_ssrc) {
    if (!is_feedback(item, RF_RTCP_PSFB, 1, 0))
        return RF_ETRUNC;
    *media_ssrc = rf_peek32(item->body + 4);
    return RF_OK;
}

int rf_rtcp_fir(const rf_rtcp_item *item, int index, uint32_t *ssrc, uint8_t *seq) {
    if (index < 0 || !is_feedback(item, RF_RTCP_PSFB, 4, ((size_t)index + 1) * 8))
        return RF_ETRUNC;
    const uint8_t *entry = item->body + FEEDBACK + (size_t)index * 8;
    *ssrc = rf_peek32(entry);
    *seq = entry[4];
    return RF_OK;
}

int rf_rtcp_remb(const rf_rtcp_item *item, uint64_t *bps) {
    if (!is_feedback(item, RF_RTCP_PSFB, 15, 8) || rf_peek32(item->body + 8) != REMB_ID)
        return RF_ETRUNC;
    uint32_t word = rf_peek32(item->body + 12);
    if (item->len < FEEDBACK + 8 + (size_t)(word >> 24) * 4)
        return RF_ETRUNC;
    uint64_t mantissa = word & 0x3ffff;
    unsigned exponent = word >> 18 & 0x3f;
    *bps = mantissa > UINT64_MAX >> exponent ? UINT64_MAX : mantissa << exponent;
    return RF_OK;
}
