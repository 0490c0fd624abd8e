/* Parameter sets of one source (H264: RFC 6184 section 8.4; H265: RFC 7798 section 4.9): the newest
 * VPS and SPS, and the newest PPSs, are kept as they came in the stream or in the offer, for key
 * frames that come without. Told by timestamp: which access unit has had its own.
 *
 * What counts is the order in which the publisher sent: a set that comes late, behind a newer one,
 * changes nothing. A PPS stays until another of its number comes (H.264 7.4.1.2.1), but is given
 * out only with the SPS that it names. */
#include "path/path.h"
#include "wire/h264.h"
#include "wire/h265.h"
#include "wire/keyframe.h"

enum role { VPS = 1, SPS = 2, PPS = 4, NO_ROLE = 0 };

static enum role role_of(uint8_t codec, const uint8_t *nal) {
    unsigned type = codec == RF_CODEC_H265 ? rf_h265_type(nal) : nal[0] & 0x1fu;
    if (codec == RF_CODEC_H265)
        return type == RF_HEVC_VPS   ? VPS
               : type == RF_HEVC_SPS ? SPS
               : type == RF_HEVC_PPS ? PPS
                                     : NO_ROLE;
    return type == RF_NAL_SPS ? SPS : type == RF_NAL_PPS ? PPS : NO_ROLE;
}

/* Its number, and that of the set that it refers to; or -1. */
static int id_of(uint8_t codec, enum role role, const uint8_t *nal, size_t len, int *of) {
    *of = 0;
    if (role == PPS)
        return codec == RF_CODEC_H265 ? rf_h265_pps_id(nal, len, of) : rf_h264_pps_id(nal, len, of);
    if (role == SPS)
        return codec == RF_CODEC_H265 ? rf_h265_sps_id(nal, len, of) : rf_h264_sps_id(nal, len);
    return 0;
}

static rf_parameter_set *place_of(rf_parameters *c, enum role role, int id) {
    if (role != PPS)
        return role == VPS ? &c->vps : &c->sps;
    rf_parameter_set *oldest = &c->pps[0];
    for (rf_parameter_set *p = c->pps; p < c->pps + RF_PPS; p++) {
        if (!p->len || p->id == id)
            return p;
        oldest = p->ext < oldest->ext ? p : oldest;
    }
    return oldest;
}

/* 1: kept, and another than before. */
static int keep(rf_parameters *c, uint64_t ext, enum role role, const uint8_t *nal, size_t len) {
    int of, id = id_of(c->codec, role, nal, len, &of);
    if (id < 0)
        return 0;
    rf_parameter_set *set = place_of(c, role, id);
    if (len > sizeof set->bytes || ext < set->ext)
        return 0;
    set->ext = ext;
    if (len == set->len && memcmp(nal, set->bytes, len) == 0)
        return 0;
    memcpy(set->bytes, nal, len);
    set->len = (uint16_t)len;
    set->id = (uint8_t)id;
    set->of = (uint8_t)of;
    return 1;
}

/* A new access unit, if it is one. */
static void begin(rf_parameters *c, uint64_t ext, uint32_t ts) {
    if (c->has_ts && (c->ts == ts || ext < c->ext))
        return;
    c->ts = ts;
    c->ext = ext;
    c->has_ts = 1;
    c->had = c->served = c->counted = 0;
}

static rf_nals nals_of(uint8_t codec, const uint8_t *payload, size_t len) {
    return codec == RF_CODEC_H265 ? rf_h265_nals_of(payload, len) : rf_nals_of(payload, len);
}

unsigned rf_parameters_note(rf_parameters *c, uint8_t codec, uint64_t ext, uint32_t ts,
                            const uint8_t *payload, size_t len) {
    unsigned told = 0;
    rf_nals nals = nals_of(codec, payload, len);
    const uint8_t *nal;
    c->codec = codec;
    for (size_t n; (nal = rf_nals_next(&nals, &n));) {
        enum role role = role_of(codec, nal);
        if (role == NO_ROLE)
            continue;
        begin(c, ext, ts);
        c->heard = 1;
        if (c->ts == ts)
            c->had |= (uint8_t)role;
        int another = keep(c, ext, role, nal, n);
        if (role == SPS)
            c->bare = 0;
        if (another && role == SPS)
            told |= RF_PARAMETERS_SPS;
        if (another && c->ts == ts && c->served)
            told |= RF_PARAMETERS_LATE;
    }
    return told;
}

int rf_parameters_missing(rf_parameters *c, uint8_t codec, uint64_t ext, uint32_t ts,
                          const rf_parameter_set *missing[RF_SETS]) {
    begin(c, ext, ts);
    int h265 = codec == RF_CODEC_H265, count = 0, pictures = 0;
    if (c->served || c->ts != ts)
        return 0;
    /* With one set all come that refer to it. */
    int vps = h265 && !(c->had & VPS);
    int sps = vps || !(c->had & SPS);
    if (!sps && c->had & PPS)
        return 0;
    if (vps)
        missing[count++] = &c->vps;
    if (sps)
        missing[count++] = &c->sps;
    for (int i = 0; i < RF_PPS; i++)
        if (c->pps[i].len && c->pps[i].of == c->sps.id)
            missing[count + pictures++] = &c->pps[i];
    int complete = pictures && c->sps.len && (!h265 || c->vps.len) && c->codec == codec;
    if (complete)
        return count + pictures;
    int first = !c->counted;
    c->counted = 1;
    return first ? -1 : 0;
}

void rf_parameters_restart(rf_parameters *c) {
    c->has_ts = 0;
    c->ext = c->vps.ext = c->sps.ext = 0;
    for (int i = 0; i < RF_PPS; i++)
        c->pps[i].ext = 0;
}

void rf_parameters_offered(rf_parameters *c, uint8_t codec, const uint8_t *sets, size_t len) {
    rf_cursor rest = rf_cursor_of(sets, len);
    c->codec = codec;
    while (rf_left(&rest) > 0) {
        uint16_t n = rf_get16(&rest);
        const uint8_t *nal = rf_take(&rest, n);
        if (rest.bad || n == 0)
            return;
        if (role_of(codec, nal) != NO_ROLE)
            keep(c, 0, role_of(codec, nal), nal, n);
    }
}
