/* H264 parameter sets of one source (RFC 6184 section 8.4): the newest SPS and its PPSs are kept,
 * as they came in the stream or in the offer's sprop-parameter-sets, for key frames that come
 * without. Which access unit has had its own is told by the timestamp. */
#include "path/path.h"
#include "wire/h264.h"

static int keep_sps(rf_parameters *c, const uint8_t *nal, size_t len) {
    if (len > sizeof c->sps || (len == c->sps_len && memcmp(nal, c->sps, len) == 0))
        return 0;
    memcpy(c->sps, nal, len);
    c->sps_len = (uint16_t)len;
    c->pps_count = 0; /* those of another sequence */
    return 1;
}

static void keep_pps(rf_parameters *c, const uint8_t *nal, size_t len) {
    int id = rf_h264_pps_id(nal, len), at = 0;
    if (id < 0 || len > sizeof c->pps[0].bytes)
        return;
    while (at < c->pps_count && c->pps[at].id != id)
        at++;
    if (at == RF_PPS)
        return;
    if (at == c->pps_count)
        c->pps_count++;
    memcpy(c->pps[at].bytes, nal, len);
    c->pps[at].len = (uint8_t)len;
    c->pps[at].id = (uint8_t)id;
}

static int keep(rf_parameters *c, const uint8_t *nal, size_t len) {
    unsigned type = nal[0] & 0x1f;
    if (type == RF_NAL_PPS)
        keep_pps(c, nal, len);
    return type == RF_NAL_SPS && keep_sps(c, nal, len);
}

/* A new access unit, if it is one. */
static void begin(rf_parameters *c, uint32_t ts) {
    if (c->has_ts && c->ts == ts)
        return;
    c->ts = ts;
    c->has_ts = 1;
    c->has_sps = c->served = c->counted = 0;
}

int rf_parameters_note(rf_parameters *c, uint32_t ts, const uint8_t *payload, size_t len) {
    unsigned type = payload[0] & 0x1f;
    int changed = 0;
    if (type != RF_NAL_SPS && type != RF_NAL_PPS && type != RF_NAL_STAP_A)
        return 0;
    begin(c, ts);
    rf_nals nals = rf_nals_of(payload, len);
    const uint8_t *nal;
    for (size_t n; (nal = rf_nals_next(&nals, &n));) {
        c->has_sps |= (nal[0] & 0x1f) == RF_NAL_SPS;
        changed |= keep(c, nal, n);
    }
    if (c->has_sps)
        c->bare = 0;
    return changed;
}

int rf_parameters_present(rf_parameters *c, uint32_t ts) {
    begin(c, ts);
    return c->served || c->has_sps || c->counted;
}

void rf_parameters_offered(rf_parameters *c, const uint8_t *sets, size_t len) {
    rf_cursor rest = rf_cursor_of(sets, len);
    while (rf_left(&rest) > 0) {
        uint16_t n = rf_get16(&rest);
        const uint8_t *nal = rf_take(&rest, n);
        if (rest.bad || n == 0)
            return;
        keep(c, nal, n);
    }
}
