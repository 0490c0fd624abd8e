/* H264 NAL units as far as a forwarder looks into them (ITU-T H.264 7.3, RFC 6184 section 5): those
 * of one RTP payload, a picture's size, a slice's type, a PPS's number. Pure functions over bytes
 * that may be anything; what cannot be read gives 0. */
#ifndef RF_WIRE_H264_H
#define RF_WIRE_H264_H

#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

enum { RF_NAL_SLICE = 1, RF_NAL_IDR = 5, RF_NAL_SPS = 7, RF_NAL_PPS = 8 };
enum { RF_NAL_STAP_A = 24, RF_NAL_FU_A = 28 };

/* Walks the whole NAL units of a payload: a single one, or those of a STAP-A (H265's: of an AP). */
typedef struct rf_nals {
    rf_cursor rest;
    int single;
} rf_nals;

rf_nals rf_nals_of(const uint8_t *payload, size_t len);
/* The next NAL unit, header byte first, of *len > 0 bytes; NULL at the end or at a damaged one. */
const uint8_t *rf_nals_next(rf_nals *n, size_t *len);

/* Is this slice (what follows its NAL header byte) a B slice? */
int rf_h264_is_b(const uint8_t *slice, size_t len);
/* pic_parameter_set_id and the SPS that it is of; or -1. */
int rf_h264_pps_id(const uint8_t *pps, size_t len, int *sps);
/* seq_parameter_set_id, or -1. */
int rf_h264_sps_id(const uint8_t *sps, size_t len);
/* The picture's size in pixels, cropped; 0 when it cannot be read or is out of range. */
int rf_h264_size(const uint8_t *sps, size_t len, uint16_t *width, uint16_t *height);

#endif
