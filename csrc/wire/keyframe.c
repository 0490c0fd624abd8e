/* What a payload says of itself, one reader a codec, chosen by a table.
 *
 *   H264  RFC 6184: single NAL unit, STAP-A (24), FU-A (28); the forms that only the interleaved
 *         mode knows (STAP-B, MTAP, FU-B) are malformed in modes 0 and 1
 *   H265  RFC 7798: single NAL unit, AP (48), FU (49); no DONL fields (sprop-max-don-diff 0)
 *   VP8   RFC 7741 section 4.2        VP9   RFC 9628 section 4.2
 *   AV1   the aggregation header and OBU elements of the AOM RTP payload format, section 4
 *
 * A payload that is cut short gives RF_PAYLOAD_MALFORMED together with what was seen before the
 * cut; the caller decides. Nothing is remembered between packets.
 */
#include "wire/keyframe.h"

#include "base/cursor.h"

enum { H264_SLICE = 1, H264_IDR = 5, H264_SPS = 7, H264_STAP_A = 24, H264_FU_A = 28 };
enum { H265_IRAP_FIRST = 16, H265_IRAP_LAST = 23, H265_VPS = 32, H265_SPS = 33 };
enum { H265_AP = 48, H265_FU = 49, H265_PACI = 50 };
enum { FU_START = 0x80, FU_END = 0x40 };

/* ---- H264 ---- */

static unsigned h264_flags(unsigned type) {
    if (type == H264_SPS)
        return RF_PAYLOAD_KEY | RF_PAYLOAD_PARAMS;
    if (type == H264_IDR)
        return RF_PAYLOAD_KEY | RF_PAYLOAD_IDR;
    return 0;
}

static int h264_is_slice(unsigned type) {
    return type >= H264_SLICE && type < H264_IDR;
}

static unsigned h264_stap(rf_cursor *c) {
    unsigned flags = 0;
    int slices = 0;
    int referred = 0; /* a NAL unit that other pictures need */
    if (rf_left(c) == 0)
        return RF_PAYLOAD_MALFORMED;
    while (rf_left(c) > 0) {
        size_t size = rf_get16(c);
        const uint8_t *nal = rf_take(c, size);
        if (c->bad || size == 0)
            return flags | RF_PAYLOAD_MALFORMED;
        unsigned type = nal[0] & 0x1f;
        if (type == 0 || type >= H264_STAP_A)
            return flags | RF_PAYLOAD_MALFORMED;
        flags |= h264_flags(type);
        slices += h264_is_slice(type);
        referred |= nal[0] & 0x60;
    }
    return slices > 0 && !referred ? flags | RF_PAYLOAD_DISCARDABLE : flags;
}

static unsigned h264_fu(rf_cursor *c, uint8_t indicator) {
    uint8_t head = rf_get8(c);
    unsigned type = head & 0x1f;
    if (c->bad || type == 0 || type >= H264_STAP_A)
        return RF_PAYLOAD_MALFORMED;
    if ((head & FU_START) && (head & FU_END)) /* RFC 6184 section 5.8 */
        return RF_PAYLOAD_MALFORMED;
    unsigned flags = h264_is_slice(type) && !(indicator & 0x60) ? RF_PAYLOAD_DISCARDABLE : 0;
    return head & FU_START ? flags | h264_flags(type) : flags;
}

static unsigned inspect_h264(rf_cursor *c) {
    uint8_t head = rf_get8(c);
    unsigned type = head & 0x1f;
    if (c->bad || head & 0x80)
        return RF_PAYLOAD_MALFORMED;
    if (type == H264_STAP_A)
        return h264_stap(c);
    if (type == H264_FU_A)
        return h264_fu(c, head);
    if (type == 0 || type > H264_STAP_A)
        return RF_PAYLOAD_MALFORMED;
    if (h264_is_slice(type) && !(head & 0x60))
        return RF_PAYLOAD_DISCARDABLE;
    return h264_flags(type);
}

const uint8_t *rf_h264_find_sps(const uint8_t *payload, size_t len, size_t *sps_len) {
    *sps_len = 0;
    if (len == 0)
        return NULL;
    if ((payload[0] & 0x1f) == H264_SPS) {
        *sps_len = len;
        return payload;
    }
    if ((payload[0] & 0x1f) != H264_STAP_A)
        return NULL;
    rf_cursor c = rf_cursor_of(payload + 1, len - 1);
    while (rf_left(&c) > 0) {
        size_t size = rf_get16(&c);
        const uint8_t *nal = rf_take(&c, size);
        if (c.bad || size == 0)
            return NULL;
        if ((nal[0] & 0x1f) == H264_SPS) {
            *sps_len = size;
            return nal;
        }
    }
    return NULL;
}

/* ---- H265 ---- */

static unsigned h265_type(uint8_t head) {
    return head >> 1 & 0x3f;
}

static unsigned h265_flags(unsigned type) {
    if (type == H265_VPS || type == H265_SPS)
        return RF_PAYLOAD_KEY | RF_PAYLOAD_PARAMS;
    if (type >= H265_IRAP_FIRST && type <= H265_IRAP_LAST)
        return RF_PAYLOAD_KEY | RF_PAYLOAD_IDR;
    return 0;
}

static unsigned h265_ap(rf_cursor *c) {
    unsigned flags = 0;
    if (rf_left(c) == 0)
        return RF_PAYLOAD_MALFORMED;
    while (rf_left(c) > 0) {
        size_t size = rf_get16(c);
        const uint8_t *nal = rf_take(c, size);
        if (c->bad || size < 2 || h265_type(nal[0]) >= H265_AP)
            return flags | RF_PAYLOAD_MALFORMED;
        flags |= h265_flags(h265_type(nal[0]));
    }
    return flags;
}

static unsigned h265_fu(rf_cursor *c) {
    uint8_t head = rf_get8(c);
    unsigned type = head & 0x3f;
    if (c->bad || type >= H265_AP || ((head & FU_START) && (head & FU_END)))
        return RF_PAYLOAD_MALFORMED;
    return head & FU_START ? h265_flags(type) : 0;
}

static unsigned inspect_h265(rf_cursor *c) {
    uint8_t head = rf_get8(c);
    rf_get8(c);
    if (c->bad || head & 0x80)
        return RF_PAYLOAD_MALFORMED;
    unsigned type = h265_type(head);
    if (type == H265_AP)
        return h265_ap(c);
    if (type == H265_FU)
        return h265_fu(c);
    if (type > H265_PACI) /* RFC 7798 leaves 51..63 to nobody */
        return RF_PAYLOAD_MALFORMED;
    return h265_flags(type);
}

/* ---- VP8, VP9 ---- */

static void skip_picture_id(rf_cursor *c) {
    if (rf_get8(c) & 0x80)
        rf_get8(c);
}

/* |X|R|N|S|R|PID| then, by X, |I|L|T|K| and the fields that these announce. */
static unsigned inspect_vp8(rf_cursor *c) {
    uint8_t head = rf_get8(c);
    if (head & 0x80) {
        uint8_t more = rf_get8(c);
        if (more & 0x80)
            skip_picture_id(c);
        if (more & 0x40)
            rf_get8(c);
        if (more & 0x30)
            rf_get8(c);
    }
    if (c->bad || rf_left(c) == 0)
        return RF_PAYLOAD_MALFORMED;
    unsigned flags = head & 0x20 ? RF_PAYLOAD_DISCARDABLE : 0;
    int frame_start = (head & 0x10) != 0 && (head & 0x07) == 0;
    if (!frame_start || (c->at[0] & 1) != 0)
        return flags;
    /* A key frame's tag is followed by a start code (RFC 6386 section 9.1). */
    if (rf_left(c) >= 6 && (c->at[3] != 0x9d || c->at[4] != 0x01 || c->at[5] != 0x2a))
        return flags | RF_PAYLOAD_MALFORMED;
    return flags | RF_PAYLOAD_KEY;
}

/* |I|P|L|F|B|E|V|Z|: a frame of the lowest spatial layer that refers to no other picture. */
static unsigned inspect_vp9(rf_cursor *c) {
    uint8_t head = rf_get8(c);
    unsigned spatial = 0;
    if (head & 0x80)
        skip_picture_id(c);
    if (head & 0x20) {
        spatial = rf_get8(c) >> 1 & 0x07;
        if (!(head & 0x10))
            rf_get8(c); /* TL0PICIDX */
    }
    if (c->bad || rf_left(c) == 0)
        return RF_PAYLOAD_MALFORMED;
    int predicted = (head & 0x40) != 0;
    int frame_start = (head & 0x08) != 0;
    return !predicted && frame_start && spatial == 0 ? RF_PAYLOAD_KEY : 0;
}

/* ---- AV1 ---- */

/* LEB128 of at most five bytes, which is all that a 32-bit length needs. */
static size_t leb128(rf_cursor *c) {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        uint8_t byte = rf_get8(c);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80))
            return (size_t)value;
    }
    c->bad = 1;
    return 0;
}

/* |Z|Y|W W|N|: N says that a coded video sequence starts here. A sender that forgets N is
 * still found by a sequence header at the front, behind at most a temporal delimiter. */
static unsigned inspect_av1(rf_cursor *c) {
    enum { SEQUENCE_HEADER = 1, TEMPORAL_DELIMITER = 2 };
    uint8_t head = rf_get8(c);
    if (c->bad || rf_left(c) == 0 || ((head & 0x80) && (head & 0x08)))
        return RF_PAYLOAD_MALFORMED;
    if (head & 0x08)
        return RF_PAYLOAD_KEY;
    if (head & 0x80)
        return 0;
    unsigned announced = head >> 4 & 3; /* 0: every element has a length */
    for (unsigned i = 1; i <= 2 && rf_left(c) > 0; i++) {
        size_t size = i == announced ? rf_left(c) : leb128(c);
        const uint8_t *obu = rf_take(c, size);
        if (c->bad || size == 0)
            return RF_PAYLOAD_MALFORMED;
        unsigned type = obu[0] >> 3 & 0x0f;
        if (type == SEQUENCE_HEADER)
            return RF_PAYLOAD_KEY;
        if (type != TEMPORAL_DELIMITER)
            break;
    }
    return 0;
}

/* ---- all ---- */

unsigned rf_payload_inspect(enum rf_codec codec, const uint8_t *payload, size_t len) {
    static unsigned (*const inspect[])(rf_cursor *) = {
        [RF_CODEC_H264] = inspect_h264, [RF_CODEC_H265] = inspect_h265,
        [RF_CODEC_VP8] = inspect_vp8,   [RF_CODEC_VP9] = inspect_vp9,
        [RF_CODEC_AV1] = inspect_av1,
    };
    size_t known = sizeof inspect / sizeof inspect[0];
    if ((size_t)codec >= known || inspect[codec] == NULL)
        return 0;
    rf_cursor c = rf_cursor_of(payload, len);
    return inspect[codec](&c);
}
