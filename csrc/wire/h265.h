/* H265 NAL units as far as a forwarder looks into them (ITU-T H.265 7.3, RFC 7798 section 4.4):
 * those of one RTP payload, and the numbers of parameter sets. Pure functions over bytes that may
 * be anything. */
#ifndef RF_WIRE_H265_H
#define RF_WIRE_H265_H

#include "wire/h264.h"

enum { RF_HEVC_VPS = 32, RF_HEVC_SPS = 33, RF_HEVC_PPS = 34, RF_HEVC_AP = 48, RF_HEVC_FU = 49 };

static inline unsigned rf_h265_type(const uint8_t *nal) {
    return nal[0] >> 1 & 0x3f;
}

/* The whole NAL units of a payload: a single one, or those of an AP; none of an FU. For
 * rf_nals_next(). */
rf_nals rf_h265_nals_of(const uint8_t *payload, size_t len);
/* pps_pic_parameter_set_id and the SPS that it is of; or -1. */
int rf_h265_pps_id(const uint8_t *pps, size_t len, int *sps);
/* sps_seq_parameter_set_id and the VPS that it is of; or -1. */
int rf_h265_sps_id(const uint8_t *sps, size_t len, int *vps);

#endif
