/* See h264.h. Bits are read past emulation prevention bytes (7.4.1: 00 00 03). */
#include "wire/h264.h"

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

/* ---- bits ---- */

typedef struct bits {
    const uint8_t *p;
    size_t len, at;
    unsigned bit;   /* of p[at], from the top */
    unsigned zeros; /* zero bytes just before p[at] */
    int bad;
} bits;

static bits bits_of(const uint8_t *p, size_t len) {
    return (bits){p, len, 0, 0, 0, 0};
}

static unsigned get_bit(bits *b) {
    if (b->bit == 0 && b->at < b->len && b->zeros >= 2 && b->p[b->at] == 3) {
        b->at++;
        b->zeros = 0;
    }
    if (b->at >= b->len) {
        b->bad = 1;
        return 0;
    }
    unsigned value = b->p[b->at] >> (7 - b->bit) & 1;
    if (++b->bit == 8) {
        b->zeros = b->p[b->at] ? 0 : b->zeros + 1;
        b->bit = 0;
        b->at++;
    }
    return value;
}

static void skip_bits(bits *b, unsigned n) {
    while (n--)
        get_bit(b);
}

static uint32_t get_ue(bits *b) {
    unsigned zeros = 0;
    while (!get_bit(b)) {
        if (b->bad || ++zeros > 31) {
            b->bad = 1;
            return 0;
        }
    }
    uint32_t value = 0;
    for (unsigned i = 0; i < zeros; i++)
        value = value << 1 | get_bit(b);
    return (1u << zeros) - 1 + value;
}

static int32_t get_se(bits *b) {
    uint32_t v = get_ue(b);
    return v & 1 ? (int32_t)((v >> 1) + 1) : -(int32_t)(v >> 1);
}

/* ---- what stands in them ---- */

int rf_h264_is_b(const uint8_t *slice, size_t len) {
    bits b = bits_of(slice, len);
    get_ue(&b); /* first_mb_in_slice */
    uint32_t type = get_ue(&b);
    return !b.bad && (type == 1 || type == 6);
}

int rf_h264_pps_id(const uint8_t *pps, size_t len) {
    bits b = bits_of(pps, len);
    skip_bits(&b, 8);
    uint32_t id = get_ue(&b);
    return b.bad || id > 255 ? -1 : (int)id;
}

static void skip_scaling_list(bits *b, int size) {
    int32_t last = 8, next = 8;
    for (int i = 0; i < size && !b->bad; i++) {
        if (next)
            next = (int32_t)((uint32_t)(last + get_se(b) % 256) & 0xff);
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
static uint32_t skip_to_order(bits *b, uint8_t profile) {
    uint32_t chroma = 1;
    get_ue(b); /* seq_parameter_set_id */
    if (!has_chroma_format(profile))
        return chroma;
    chroma = get_ue(b);
    if (chroma == 3)
        skip_bits(b, 1);
    get_ue(b); /* bit depths */
    get_ue(b);
    skip_bits(b, 1);
    if (get_bit(b))
        for (int i = 0; i < (chroma == 3 ? 12 : 8) && !b->bad; i++)
            if (get_bit(b))
                skip_scaling_list(b, i < 6 ? 16 : 64);
    return chroma;
}

static void skip_order(bits *b) {
    get_ue(b); /* log2_max_frame_num_minus4 */
    uint32_t type = get_ue(b);
    if (type == 0) {
        get_ue(b);
    } else if (type == 1) {
        skip_bits(b, 1);
        get_se(b);
        get_se(b);
        for (uint32_t n = get_ue(b); n > 0 && !b->bad; n--)
            get_se(b);
    }
}

int rf_h264_size(const uint8_t *sps, size_t len, uint16_t *width, uint16_t *height) {
    if (len < 5)
        return 0;
    bits b = bits_of(sps + 4, len - 4);
    uint32_t chroma = skip_to_order(&b, sps[1]);
    skip_order(&b);
    get_ue(&b); /* max_num_ref_frames */
    skip_bits(&b, 1);
    uint64_t wide = get_ue(&b) + 1ull, high = get_ue(&b) + 1ull;
    unsigned frames_only = get_bit(&b);
    if (!frames_only)
        skip_bits(&b, 1);
    skip_bits(&b, 1);
    uint64_t crop[4] = {0, 0, 0, 0}; /* left, right, top, bottom */
    if (get_bit(&b))
        for (int i = 0; i < 4; i++)
            crop[i] = get_ue(&b);
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
