/* Writing RTCP; see rtcp.h. Each writer asks for its whole room first, so that a full buffer leaves
 * nothing half written. */
#include <string.h>

#include "base/cursor.h"
#include "base/error.h"
#include "wire/rtcp.h"

/* Room for a packet of `size` bytes (a multiple of 4) with its head written, or NULL. */
static uint8_t *open_packet(rf_writer *w, int type, int count, size_t size) {
    if (size > w->cap - w->at || count > 31)
        return NULL;
    uint8_t *p = w->out + w->at;
    p[0] = (uint8_t)(0x80 | count);
    p[1] = (uint8_t)type;
    rf_put16(p + 2, (uint16_t)(size / 4 - 1));
    w->at += size;
    return p;
}

int rf_rtcp_write_sr(rf_writer *w, const rf_sender_info *s) {
    uint8_t *p = open_packet(w, RF_RTCP_SR, 0, 28);
    if (!p)
        return RF_ENOSPC;
    rf_put32(p + 4, s->ssrc);
    rf_put64(p + 8, s->ntp);
    rf_put32(p + 16, s->rtp_ts);
    rf_put32(p + 20, s->packets);
    rf_put32(p + 24, s->octets);
    return RF_OK;
}

int rf_rtcp_write_rr(rf_writer *w, uint32_t sender_ssrc, const rf_report_block *blocks, int count) {
    uint8_t *p = open_packet(w, RF_RTCP_RR, count, 8 + 24 * (size_t)count);
    if (!p)
        return RF_ENOSPC;
    rf_put32(p + 4, sender_ssrc);
    for (int i = 0; i < count; i++) {
        uint8_t *b = p + 8 + 24 * i;
        rf_put32(b, blocks[i].ssrc);
        rf_put32(b + 4, (uint32_t)blocks[i].fraction_lost << 24 |
                            ((uint32_t)blocks[i].cumulative_lost & 0xffffff));
        rf_put32(b + 8, blocks[i].highest_seq);
        rf_put32(b + 12, blocks[i].jitter);
        rf_put32(b + 16, blocks[i].lsr);
        rf_put32(b + 20, blocks[i].dlsr);
    }
    return RF_OK;
}

int rf_rtcp_write_sdes(rf_writer *w, const uint32_t *ssrcs, int count, const char *cname) {
    size_t name = strnlen(cname, 255);
    size_t chunk = (4 + 2 + name + 1 + 3) / 4 * 4; /* SSRC, item, a zero, padded */
    uint8_t *p = open_packet(w, RF_RTCP_SDES, count, 4 + chunk * (size_t)count);
    if (!p)
        return RF_ENOSPC;
    for (int i = 0; i < count; i++) {
        uint8_t *c = p + 4 + chunk * (size_t)i;
        memset(c, 0, chunk);
        rf_put32(c, ssrcs[i]);
        c[4] = 1; /* CNAME */
        c[5] = (uint8_t)name;
        memcpy(c + 6, cname, name);
    }
    return RF_OK;
}

int rf_rtcp_write_bye(rf_writer *w, const uint32_t *ssrcs, int count) {
    uint8_t *p = open_packet(w, RF_RTCP_BYE, count, 4 + 4 * (size_t)count);
    if (!p)
        return RF_ENOSPC;
    for (int i = 0; i < count; i++)
        rf_put32(p + 4 + 4 * i, ssrcs[i]);
    return RF_OK;
}

int rf_rtcp_write_nack(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc,
                       const uint16_t *seqs, int count) {
    int pairs = 0;
    for (int i = 0; i < count;) { /* a dry run counts the pairs */
        uint16_t pid = seqs[i++];
        while (i < count && (uint16_t)(seqs[i] - pid) <= 16)
            i++;
        pairs++;
    }
    if (!pairs)
        return RF_EINVAL;
    uint8_t *p = open_packet(w, RF_RTCP_RTPFB, 1, 12 + 4 * (size_t)pairs);
    if (!p)
        return RF_ENOSPC;
    rf_put32(p + 4, sender_ssrc);
    rf_put32(p + 8, media_ssrc);
    p += 12;
    for (int i = 0; i < count; p += 4) {
        uint16_t pid = seqs[i++], blp = 0;
        for (; i < count && (uint16_t)(seqs[i] - pid) <= 16; i++)
            if (seqs[i] != pid)
                blp = (uint16_t)(blp | 1u << ((uint16_t)(seqs[i] - pid) - 1));
        rf_put16(p, pid);
        rf_put16(p + 2, blp);
    }
    return RF_OK;
}

int rf_rtcp_write_pli(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc) {
    uint8_t *p = open_packet(w, RF_RTCP_PSFB, 1, 12);
    if (!p)
        return RF_ENOSPC;
    rf_put32(p + 4, sender_ssrc);
    rf_put32(p + 8, media_ssrc);
    return RF_OK;
}

int rf_rtcp_write_fir(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc, uint8_t seq) {
    uint8_t *p = open_packet(w, RF_RTCP_PSFB, 4, 20);
    if (!p)
        return RF_ENOSPC;
    rf_put32(p + 4, sender_ssrc);
    rf_put32(p + 8, 0); /* RFC 5104 section 4.3.1.2: the SSRC asked stands in the entry */
    rf_put32(p + 12, media_ssrc);
    rf_put32(p + 16, (uint32_t)seq << 24);
    return RF_OK;
}

int rf_rtcp_write_dlrr(rf_writer *w, uint32_t sender_ssrc, const rf_dlrr *receivers, int count) {
    enum { DLRR = 5 };
    uint8_t *p = count > 255 ? NULL : open_packet(w, RF_RTCP_XR, 0, 12 + 12 * (size_t)count);
    if (!p)
        return RF_ENOSPC;
    rf_put32(p + 4, sender_ssrc);
    rf_put32(p + 8, (uint32_t)DLRR << 24 | 3u * (uint32_t)count);
    for (int i = 0; i < count; i++) {
        rf_put32(p + 12 + 12 * i, receivers[i].ssrc);
        rf_put32(p + 16 + 12 * i, receivers[i].last_rr);
        rf_put32(p + 20 + 12 * i, receivers[i].delay);
    }
    return RF_OK;
}

int rf_rtcp_write_remb(rf_writer *w, uint32_t sender_ssrc, uint64_t bps, const uint32_t *ssrcs,
                       int count) {
    uint32_t exponent = 0;
    while (bps >> exponent > 0x3ffff)
        exponent++;
    uint8_t *p = count > 255 ? NULL : open_packet(w, RF_RTCP_PSFB, 15, 20 + 4 * (size_t)count);
    if (!p)
        return RF_ENOSPC;
    rf_put32(p + 4, sender_ssrc);
    rf_put32(p + 8, 0);
    memcpy(p + 12, "REMB", 4);
    rf_put32(p + 16, (uint32_t)count << 24 | exponent << 18 | (uint32_t)(bps >> exponent));
    for (int i = 0; i < count; i++)
        rf_put32(p + 20 + 4 * i, ssrcs[i]);
    return RF_OK;
}
