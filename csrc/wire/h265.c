/* See h265.h. */
#include "wire/h265.h"

#include "wire/bits.h"

rf_nals rf_h265_nals_of(const uint8_t *payload, size_t len) {
    rf_nals n = {rf_cursor_of(payload, len), 1};
    unsigned type = len > 2 ? rf_h265_type(payload) : RF_HEVC_FU;
    if (type == RF_HEVC_AP) {
        n.single = 0;
        rf_take(&n.rest, 2);
    } else if (type > RF_HEVC_AP) {
        n.rest = rf_cursor_of(payload, 0);
    }
    return n;
}

int rf_h265_pps_id(const uint8_t *pps, size_t len, int *sps) {
    rf_bits b = rf_bits_of(pps, len);
    rf_skip_bits(&b, 16);
    uint32_t id = rf_get_ue(&b), of = rf_get_ue(&b);
    *sps = (int)(of & 0x7f);
    return b.bad || id > 63 || of > 15 ? -1 : (int)id;
}

/* 7.3.3, profilePresentFlag 1: 88 bits of profile, 8 of level; then of each sub-layer, as told. */
static void skip_profile_tier_level(rf_bits *b, unsigned sub_layers) {
    unsigned profile = 0, level = 0;
    rf_skip_bits(b, 96);
    if (!sub_layers)
        return;
    for (unsigned i = 0; i < sub_layers; i++) {
        profile += rf_get_bit(b);
        level += rf_get_bit(b);
    }
    rf_skip_bits(b, 2 * (8 - sub_layers) + 88 * profile + 8 * level);
}

int rf_h265_sps_id(const uint8_t *sps, size_t len, int *vps) {
    rf_bits b = rf_bits_of(sps, len);
    unsigned sub_layers = 0;
    *vps = 0;
    rf_skip_bits(&b, 16);
    for (int i = 0; i < 4; i++)
        *vps = *vps << 1 | (int)rf_get_bit(&b);
    for (int i = 0; i < 3; i++)
        sub_layers = sub_layers << 1 | rf_get_bit(&b);
    rf_skip_bits(&b, 1); /* sps_temporal_id_nesting_flag */
    if (sub_layers > 6)
        return -1;
    skip_profile_tier_level(&b, sub_layers);
    uint32_t id = rf_get_ue(&b);
    return b.bad || id > 15 ? -1 : (int)id;
}
