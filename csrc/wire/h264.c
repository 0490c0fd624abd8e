/* See h264.h. */
#include "wire/h264.h"

#include "wire/bits.h"

/* ---- NAL units of a payload ---- */

rf_nals rf_nals_of(const uint8_t *payload, size_t len) {
    rf_nals n = {rf_cursor_of(payload, len), 1};
    unsigned type = len ? payload[0] & 0x1f : 0;
    if (type == RF_NAL_STAP_A) {
        n.single = 0;
        rf_get8(&n.rest);
    } else if (type < 1 || type > 23) {
        n.rest = rf_cursor_of(payload, 0);
    }
    return n;
}

const uint8_t *rf_nals_next(rf_nals *n, size_t *len) {
    if (n->rest.bad || rf_left(&n->rest) == 0)
        return NULL;
    *len = n->single ? rf_left(&n->rest) : rf_get16(&n->rest);
    const uint8_t *nal = rf_take(&n->rest, *len);
    if (n->rest.bad || *len == 0) {
        n->rest.bad = 1;
        return NULL;
    }
    return nal;
}

/* ---- what stands in them ---- */

int rf_h264_is_b(const uint8_t *slice, size_t len) {
    rf_bits b = rf_bits_of(slice, len);
    rf_get_ue(&b); /* first_mb_in_slice */
    uint32_t type = rf_get_ue(&b);
    return !b.bad && (type == 1 || type == 6);
}

int rf_h264_pps_id(const uint8_t *pps, size_t len, int *sps) {
    rf_bits b = rf_bits_of(pps, len);
    rf_skip_bits(&b, 8);
    uint32_t id = rf_get_ue(&b), of = rf_get_ue(&b);
    *sps = (int)(of & 0x7f);
    return b.bad || id > 255 || of > 31 ? -1 : (int)id;
}

int rf_h264_sps_id(const uint8_t *sps, size_t len) {
    rf_bits b = rf_bits_of(sps, len);
    rf_skip_bits(&b, 32);
    uint32_t id = rf_get_ue(&b);
    return b.bad || id > 31 ? -1 : (int)id;
}

static void skip_scaling_list(rf_bits *b, int size) {
    int32_t last = 8, next = 8;
    for (int i = 0; i < size && !b->bad; i++) {
        if (next)
            next = (int32_t)((uint32_t)(last + rf_get_se(b) % 256) & 0xff);
        if (next)
            last = next;
    }
}

static int has_chroma_format(uint8_t profile) {
    static const uint8_t with[] = {100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135};
    for (size_t i = 0; i < sizeof with; i++)
        if (with[i] == profile)
            return 1;
    return 0;
}

/* 7.3.2.1.1, up to the picture order count; chroma_format_idc. */
static uint32_t skip_to_order(rf_bits *b, uint8_t profile) {
    uint32_t chroma = 1;
    rf_get_ue(b); /* seq_parameter_set_id */
    if (!has_chroma_format(profile))
        return chroma;
    chroma = rf_get_ue(b);
    if (chroma == 3)
        rf_skip_bits(b, 1);
    rf_get_ue(b); /* bit depths */
    rf_get_ue(b);
    rf_skip_bits(b, 1);
    if (rf_get_bit(b))
        for (int i = 0; i < (chroma == 3 ? 12 : 8) && !b->bad; i++)
            if (rf_get_bit(b))
                skip_scaling_list(b, i < 6 ? 16 : 64);
    return chroma;
}

static void skip_order(rf_bits *b) {
    rf_get_ue(b); /* log2_max_frame_num_minus4 */
    uint32_t type = rf_get_ue(b);
    if (type == 0) {
        rf_get_ue(b);
    } else if (type == 1) {
        rf_skip_bits(b, 1);
        rf_get_se(b);
        rf_get_se(b);
        for (uint32_t n = rf_get_ue(b); n > 0 && !b->bad; n--)
            rf_get_se(b);
    }
}

int rf_h264_size(const uint8_t *sps, size_t len, uint16_t *width, uint16_t *height) {
    if (len < 5)
        return 0;
    rf_bits b = rf_bits_of(sps + 4, len - 4);
    uint32_t chroma = skip_to_order(&b, sps[1]);
    skip_order(&b);
    rf_get_ue(&b); /* max_num_ref_frames */
    rf_skip_bits(&b, 1);
    uint64_t wide = rf_get_ue(&b) + 1ull, high = rf_get_ue(&b) + 1ull;
    unsigned frames_only = rf_get_bit(&b);
    if (!frames_only)
        rf_skip_bits(&b, 1);
    rf_skip_bits(&b, 1);
    uint64_t crop[4] = {0, 0, 0, 0}; /* left, right, top, bottom */
    if (rf_get_bit(&b))
        for (int i = 0; i < 4; i++)
            crop[i] = rf_get_ue(&b);
    if (b.bad || wide > 1024 || high > 1024)
        return 0;
    unsigned field = 2 - frames_only;
    uint64_t x = (crop[0] + crop[1]) * (chroma == 1 || chroma == 2 ? 2 : 1);
    uint64_t y = (crop[2] + crop[3]) * field * (chroma == 1 ? 2 : 1);
    wide *= 16;
    high *= 16ull * field;
    if (x >= wide || y >= high || wide - x > UINT16_MAX || high - y > UINT16_MAX)
        return 0;
    *width = (uint16_t)(wide - x);
    *height = (uint16_t)(high - y);
    return 1;
}
