/* Stands in for libsrtp in tests of everything around it: protect appends a 16-byte tag made of the
 * header, unprotect checks and removes it. Not a cipher. */
#ifndef RF_TESTS_STUB_SRTP_H
#define RF_TESTS_STUB_SRTP_H

#include "rtcfwd.h"
#include "test.h"

enum { STUB_TAG = 16, STUB_AUTH_FAILED = 7 };

static inline int stub_protect(void *ctx, void *hdr, int *len) {
    uint8_t *p = hdr;
    (void)ctx;
    memset(p + *len, 0xA5, STUB_TAG);
    memcpy(p + *len, p, 8);
    *len += STUB_TAG;
    return 0;
}

static inline int stub_unprotect(void *ctx, void *hdr, int *len) {
    uint8_t *p = hdr;
    (void)ctx;
    if (*len < 8 + STUB_TAG || memcmp(p + *len - STUB_TAG, p, 8) != 0 || p[*len - 1] != 0xA5)
        return STUB_AUTH_FAILED;
    *len -= STUB_TAG;
    return 0;
}

static inline void stub_config(rf_config *c, int workers, int in_memory) {
    memset(c, 0, sizeof *c);
    c->workers = workers;
    c->in_memory = in_memory;
    c->egress = RF_EGRESS_GSO;
    c->bind_ip[10] = c->bind_ip[11] = 0xff;
    c->bind_ip[12] = 127;
    c->bind_ip[15] = 1;
    c->max_peers = 64;
    c->max_streams = 4;
    c->video_slots = 256;
    c->audio_slots = 64;
    c->socket_buffer = 1 << 20;
    c->punt_slots = 64;
    c->start_pace_bps = 30000000;
    c->start_max_bytes = 3000000;
    c->start_max_ns = 10000000000u;
    c->viewer_lag_ns = 1000000000u;
    c->viewer_lag_bytes = 1000000;
    c->remb_bps = 6000000;
    c->resend_percent = 20;
    c->keyframe_percent = 20;
    c->wall_offset_ns = 1700000000000000000u;
    c->srtp.protect = stub_protect;
    c->srtp.unprotect = stub_unprotect;
    c->srtp.protect_rtcp = stub_protect;
    c->srtp.unprotect_rtcp = stub_unprotect;
}

/* An RTP packet with the stub's tag; returns its length. */
static inline size_t stub_rtp(uint8_t *out, uint8_t pt, int marker, uint16_t seq, uint32_t ts,
                              uint32_t ssrc, const uint8_t *payload, size_t n) {
    out[0] = 0x80;
    out[1] = (uint8_t)(marker << 7 | pt);
    out[2] = (uint8_t)(seq >> 8);
    out[3] = (uint8_t)seq;
    for (int i = 0; i < 4; i++) {
        out[4 + i] = (uint8_t)(ts >> (24 - 8 * i));
        out[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
    }
    memcpy(out + 12, payload, n);
    int len = (int)(12 + n);
    stub_protect(NULL, out, &len);
    return (size_t)len;
}

enum { STUB_VIDEO_PT = 96, STUB_AUDIO_PT = 8, STUB_VIDEO_SSRC = 1111, STUB_AUDIO_SSRC = 2222 };

static inline void stub_publication(rf_publication *p) {
    memset(p, 0, sizeof *p);
    p->local_ssrc = 777;
    strcpy(p->cname, "test");
    rf_pub_track *v = &p->track[RF_VIDEO], *a = &p->track[RF_AUDIO];
    v->present = v->nack = v->pli = v->remb = 1;
    v->clock_rate = 90000;
    v->format_count = 1;
    v->format[0].pt = STUB_VIDEO_PT;
    v->format[0].codec = 1; /* H264 */
    v->format[0].rtx_pt = RF_NO_PT;
    a->present = 1;
    a->clock_rate = 8000;
    a->format_count = 1;
    a->format[0].pt = STUB_AUDIO_PT;
    a->format[0].codec = 8; /* PCMA */
    a->format[0].rtx_pt = RF_NO_PT;
}

static inline void stub_subscription(rf_subscription *s, uint32_t ssrc) {
    memset(s, 0, sizeof *s);
    strcpy(s->cname, "test");
    for (int k = 0; k < RF_KINDS; k++) {
        memset(s->track[k].pt_of_format, RF_NO_PT, RF_MAX_FORMATS);
        memset(s->track[k].rtx_pt_of_format, RF_NO_PT, RF_MAX_FORMATS);
        s->track[k].present = s->track[k].nack = 1;
        s->track[k].ssrc = ssrc + (uint32_t)k;
        s->track[k].pt_of_format[0] = k == RF_VIDEO ? 102 : 8;
    }
}

static inline void stub_path(rf_path *p, uint16_t port) {
    memset(p, 0, sizeof *p);
    p->remote_ip[10] = p->remote_ip[11] = p->local_ip[10] = p->local_ip[11] = 0xff;
    p->remote_ip[12] = p->local_ip[12] = 127;
    p->remote_ip[15] = p->local_ip[15] = 1;
    p->remote_port = port;
}

#endif
