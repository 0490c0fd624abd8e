/* See keyframe.h.
 *
 *   H264  RFC 6184: single NAL 1..23, STAP-A 24, FU-A 28 (only with its start bit)
 *   H265  RFC 7798: single NAL, AP 48, FU 49
 *   VP8   RFC 7741: S bit and partition 0, then the P bit of the frame header
 *   VP9   RFC 9628: B bit, not P, spatial layer 0
 *   AV1   AV1 RTP: N bit of the aggregation header
 */
#include "wire/keyframe.h"

#include "base/cursor.h"
#include "wire/h264.h"

/* ---- H264 ---- */

/* `head` is its header byte; `body` what follows it, as far as this packet goes. */
static unsigned h264_nal(uint8_t head, const uint8_t *body, size_t len) {
    unsigned type = head & 0x1f, flags = 0;
    if (type == RF_NAL_SPS)
        return RF_PAYLOAD_KEY | RF_PAYLOAD_PARAMS;
    if (type == RF_NAL_IDR)
        return RF_PAYLOAD_KEY | RF_PAYLOAD_IDR;
    if (type == RF_NAL_SLICE) {
        if ((head & 0x60) == 0)
            flags |= RF_PAYLOAD_DISCARDABLE;
        if (rf_h264_is_b(body, len))
            flags |= RF_PAYLOAD_B;
    }
    return flags;
}

static unsigned h264_aggregate(rf_cursor c) {
    unsigned flags = 0;
    while (rf_left(&c) > 0) {
        uint16_t size = rf_get16(&c);
        const uint8_t *nal = rf_take(&c, size);
        if (c.bad || size == 0)
            return flags | RF_PAYLOAD_MALFORMED;
        flags |= h264_nal(nal[0], nal + 1, size - 1u) & ~(unsigned)RF_PAYLOAD_DISCARDABLE;
    }
    return flags;
}

static unsigned h264(const uint8_t *p, size_t len) {
    unsigned type = p[0] & 0x1f;
    if (type >= 1 && type <= 23)
        return h264_nal(p[0], p + 1, len - 1);
    if (type == RF_NAL_STAP_A)
        return len > 1 ? h264_aggregate(rf_cursor_of(p + 1, len - 1)) : RF_PAYLOAD_MALFORMED;
    if (type != RF_NAL_FU_A || len < 2 || (p[1] & 0xc0) == 0xc0)
        return RF_PAYLOAD_MALFORMED;
    unsigned whole = h264_nal((uint8_t)((p[0] & 0xe0) | (p[1] & 0x1f)), p + 2, len - 2);
    /* Only the first fragment begins something; any fragment may be of a frame nobody needs. */
    return p[1] & 0x80 ? whole : whole & RF_PAYLOAD_DISCARDABLE;
}

/* ---- H265 ---- */

static unsigned h265_type(unsigned type) {
    if (type == 32 || type == 33) /* VPS, SPS */
        return RF_PAYLOAD_KEY | RF_PAYLOAD_PARAMS;
    if (type >= 16 && type <= 23) /* IRAP */
        return RF_PAYLOAD_KEY | RF_PAYLOAD_IDR;
    return 0;
}

static unsigned h265(const uint8_t *p, size_t len) {
    if (len < 3)
        return RF_PAYLOAD_MALFORMED;
    unsigned type = p[0] >> 1 & 0x3f;
    if (type < 48)
        return h265_type(type);
    if (type == 49 && (p[2] & 0xc0) == 0xc0)
        return RF_PAYLOAD_MALFORMED; /* both ends in one fragment: section 4.4.3 */
    if (type == 49)
        return p[2] & 0x80 ? h265_type(p[2] & 0x3f) : 0;
    if (type != 48)
        return RF_PAYLOAD_MALFORMED;
    unsigned flags = 0;
    rf_cursor c = rf_cursor_of(p + 2, len - 2);
    while (rf_left(&c) > 0) {
        uint16_t size = rf_get16(&c);
        const uint8_t *nal = rf_take(&c, size);
        if (c.bad || size < 2)
            return flags | RF_PAYLOAD_MALFORMED;
        flags |= h265_type(nal[0] >> 1 & 0x3f);
    }
    return flags;
}

/* ---- VP8, VP9, AV1 ---- */

static unsigned vp8(const uint8_t *p, size_t len) {
    rf_cursor c = rf_cursor_of(p, len);
    uint8_t first = rf_get8(&c);
    unsigned flags = first & 0x20 ? RF_PAYLOAD_DISCARDABLE : 0;
    if (first & 0x80) {
        uint8_t more = rf_get8(&c);
        if (more & 0x80 && rf_get8(&c) & 0x80) /* PictureID, 7 or 15 bits */
            rf_get8(&c);
        if (more & 0x40)
            rf_get8(&c); /* TL0PICIDX */
        if (more & 0x30)
            rf_get8(&c); /* TID, KEYIDX */
    }
    int begins = first & 0x10 && (first & 0x07) == 0;
    if (begins) {
        uint8_t frame = rf_get8(&c);
        if (!c.bad && !(frame & 1))
            flags |= RF_PAYLOAD_KEY;
    }
    return c.bad ? RF_PAYLOAD_MALFORMED : flags;
}

static unsigned vp9(const uint8_t *p, size_t len) {
    rf_cursor c = rf_cursor_of(p, len);
    uint8_t first = rf_get8(&c);
    unsigned layer = 0;
    if (first & 0x80 && rf_get8(&c) & 0x80)
        rf_get8(&c);
    if (first & 0x20) {
        layer = rf_get8(&c) >> 1 & 7;
        if (!(first & 0x10))
            rf_get8(&c); /* TL0PICIDX in non-flexible mode */
    }
    if (c.bad)
        return RF_PAYLOAD_MALFORMED;
    return first & 0x08 && !(first & 0x40) && layer == 0 ? RF_PAYLOAD_KEY : 0;
}

/* The frame header of a key frame (RFC 6386 section 9.1) begins behind the payload descriptor. */
static int vp8_size(const uint8_t *p, size_t len, uint16_t *width, uint16_t *height) {
    static const uint8_t start_code[3] = {0x9d, 0x01, 0x2a};
    for (size_t at = 1; at <= 6 && at + 10 <= len; at++) {
        const uint8_t *code = p + at + 3;
        if (code[0] != start_code[0] || code[1] != start_code[1] || code[2] != start_code[2])
            continue;
        *width = (uint16_t)((code[4] << 8 | code[3]) & 0x3fff);
        *height = (uint16_t)((code[6] << 8 | code[5]) & 0x3fff);
        return *width && *height;
    }
    return 0;
}

int rf_payload_size(enum rf_codec codec, const uint8_t *payload, size_t len, uint16_t *width,
                    uint16_t *height) {
    if (codec == RF_CODEC_VP8)
        return vp8_size(payload, len, width, height);
    if (codec != RF_CODEC_H264)
        return 0;
    rf_nals nals = rf_nals_of(payload, len);
    const uint8_t *nal;
    for (size_t n; (nal = rf_nals_next(&nals, &n));)
        if ((nal[0] & 0x1f) == RF_NAL_SPS)
            return rf_h264_size(nal, n, width, height);
    return 0;
}

unsigned rf_payload_inspect(enum rf_codec codec, const uint8_t *payload, size_t len) {
    if (len == 0)
        return 0;
    switch (codec) {
    case RF_CODEC_H264:
        return h264(payload, len);
    case RF_CODEC_H265:
        return h265(payload, len);
    case RF_CODEC_VP8:
        return vp8(payload, len);
    case RF_CODEC_VP9:
        return vp9(payload, len);
    case RF_CODEC_AV1:
        return payload[0] & 0x08 ? RF_PAYLOAD_KEY : 0;
    default:
        return 0;
    }
}
