/* Builds the RTCP that we send (the reader is rtcp.c; same RFCs). Each function appends one packet
 * or, when it does not fit, leaves the writer untouched. Padding is never written. */
#include <string.h>

#include "base/cursor.h"
#include "base/error.h"
#include "wire/rtcp.h"

enum {
    HEAD = 4,
    REPORT_BLOCK = 24,
    MAX_COUNT = 31, /* five bits */
    SDES_CNAME = 1,
};

/* Room for a packet of `len` bytes (a multiple of 4) with its head written, or NULL. */
static uint8_t *open_packet(rf_writer *w, uint8_t type, int count, size_t len) {
    if (w->at > w->cap || len > w->cap - w->at || len / 4 - 1 > UINT16_MAX)
        return NULL;
    uint8_t *p = w->out + w->at;
    p[0] = (uint8_t)(0x80 | count);
    p[1] = type;
    rf_put16(p + 2, (uint16_t)(len / 4 - 1));
    w->at += len;
    return p + HEAD;
}

/* The same for feedback: sender and media SSRC written, the FCI left to the caller. */
static uint8_t *open_feedback(rf_writer *w, uint8_t type, int format, uint32_t sender,
                              uint32_t media, size_t fci) {
    uint8_t *p = open_packet(w, type, format, HEAD + 8 + fci);
    if (p == NULL)
        return NULL;
    rf_put32(p, sender);
    rf_put32(p + 4, media);
    return p + 8;
}

int rf_rtcp_write_sr(rf_writer *w, const rf_sender_info *s) {
    uint8_t *p = open_packet(w, RF_RTCP_SR, 0, HEAD + 24);
    if (p == NULL)
        return RF_ENOSPC;
    rf_put32(p, s->ssrc);
    rf_put64(p + 4, s->ntp);
    rf_put32(p + 12, s->rtp_ts);
    rf_put32(p + 16, s->packets);
    rf_put32(p + 20, s->octets);
    return RF_OK;
}

static void put_report(uint8_t *p, const rf_report_block *b) {
    int32_t lost = b->cumulative_lost; /* clamped to 24 bits, never wrapped (section 6.4.1) */
    lost = lost > 0x7fffff ? 0x7fffff : lost < -0x800000 ? -0x800000 : lost;
    rf_put32(p, b->ssrc);
    rf_put32(p + 4, (uint32_t)b->fraction_lost << 24 | ((uint32_t)lost & 0xffffff));
    rf_put32(p + 8, b->highest_seq);
    rf_put32(p + 12, b->jitter);
    rf_put32(p + 16, b->lsr);
    rf_put32(p + 20, b->dlsr);
}

int rf_rtcp_write_rr(rf_writer *w, uint32_t sender_ssrc, const rf_report_block *blocks, int count) {
    if (count < 0 || count > MAX_COUNT)
        return RF_EINVAL;
    uint8_t *p = open_packet(w, RF_RTCP_RR, count, HEAD + 4 + (size_t)count * REPORT_BLOCK);
    if (p == NULL)
        return RF_ENOSPC;
    rf_put32(p, sender_ssrc);
    for (int i = 0; i < count; i++)
        put_report(p + 4 + (size_t)i * REPORT_BLOCK, &blocks[i]);
    return RF_OK;
}

int rf_rtcp_write_sdes(rf_writer *w, const uint32_t *ssrcs, int count, const char *cname) {
    size_t name = strlen(cname);
    if (count < 1 || count > MAX_COUNT || name > 255)
        return RF_EINVAL;
    /* SSRC, item head, text, at least one zero to end the chunk, to a multiple of 4. */
    size_t chunk = (4 + 2 + name + 1 + 3) & ~(size_t)3;
    uint8_t *p = open_packet(w, RF_RTCP_SDES, count, HEAD + (size_t)count * chunk);
    if (p == NULL)
        return RF_ENOSPC;
    for (int i = 0; i < count; i++, p += chunk) {
        rf_put32(p, ssrcs[i]);
        p[4] = SDES_CNAME;
        p[5] = (uint8_t)name;
        memcpy(p + 6, cname, name);
        memset(p + 6 + name, 0, chunk - 6 - name);
    }
    return RF_OK;
}

int rf_rtcp_write_bye(rf_writer *w, const uint32_t *ssrcs, int count) {
    if (count < 0 || count > MAX_COUNT)
        return RF_EINVAL;
    uint8_t *p = open_packet(w, RF_RTCP_BYE, count, HEAD + (size_t)count * 4);
    if (p == NULL)
        return RF_ENOSPC;
    for (int i = 0; i < count; i++)
        rf_put32(p + (size_t)i * 4, ssrcs[i]);
    return RF_OK;
}

/* How many of seqs, from the first on, one (PID, BLP) pair can name; *blp is the second half. */
static int fold(const uint16_t *seqs, int count, uint16_t *blp) {
    int used = 1;
    *blp = 0;
    while (used < count) {
        unsigned ahead = (uint16_t)(seqs[used] - seqs[0]);
        if (ahead > 16)
            break;
        if (ahead > 0) /* 0: the same number twice */
            *blp = (uint16_t)(*blp | 1u << (ahead - 1));
        used++;
    }
    return used;
}

int rf_rtcp_write_nack(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc,
                       const uint16_t *seqs, int count) {
    uint16_t blp;
    size_t pairs = 0;
    if (count < 1)
        return RF_EINVAL;
    for (int i = 0; i < count; i += fold(seqs + i, count - i, &blp))
        pairs++;
    uint8_t *p = open_feedback(w, RF_RTCP_RTPFB, 1, sender_ssrc, media_ssrc, pairs * 4);
    if (p == NULL)
        return RF_ENOSPC;
    for (int i = 0, used; i < count; i += used, p += 4) {
        used = fold(seqs + i, count - i, &blp);
        rf_put16(p, seqs[i]);
        rf_put16(p + 2, blp);
    }
    return RF_OK;
}

int rf_rtcp_write_pli(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc) {
    return open_feedback(w, RF_RTCP_PSFB, 1, sender_ssrc, media_ssrc, 0) == NULL ? RF_ENOSPC
                                                                                 : RF_OK;
}

int rf_rtcp_write_fir(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc, uint8_t seq) {
    /* The media SSRC of the head is 0; whom it concerns stands in the FCI (RFC 5104 4.3.1.2). */
    uint8_t *p = open_feedback(w, RF_RTCP_PSFB, 4, sender_ssrc, 0, 8);
    if (p == NULL)
        return RF_ENOSPC;
    rf_put32(p, media_ssrc);
    rf_put32(p + 4, (uint32_t)seq << 24);
    return RF_OK;
}

int rf_rtcp_write_remb(rf_writer *w, uint32_t sender_ssrc, uint64_t bps, const uint32_t *ssrcs,
                       int count) {
    unsigned exponent = 0;
    if (count < 0 || count > 255)
        return RF_EINVAL;
    while (bps >> exponent > 0x3ffff) /* rounds down: never promise more than was meant */
        exponent++;
    uint8_t *p = open_feedback(w, RF_RTCP_PSFB, 15, sender_ssrc, 0, 8 + (size_t)count * 4);
    if (p == NULL)
        return RF_ENOSPC;
    memcpy(p, "REMB", 4);
    rf_put32(p + 4, (uint32_t)count << 24 | exponent << 18 | (uint32_t)(bps >> exponent));
    for (int i = 0; i < count; i++)
        rf_put32(p + 8 + (size_t)i * 4, ssrcs[i]);
    return RF_OK;
}
