/* What a payload says of itself, per codec: does it begin a key frame, does it begin a frame, may
 * it be left out. Pure functions over the payload bytes; no state between packets. */
#ifndef RF_WIRE_KEYFRAME_H
#define RF_WIRE_KEYFRAME_H

#include <stddef.h>
#include <stdint.h>

enum rf_codec {
    RF_CODEC_OTHER,
    RF_CODEC_H264,
    RF_CODEC_H265,
    RF_CODEC_VP8,
    RF_CODEC_VP9,
    RF_CODEC_AV1,
    RF_CODEC_OPUS,
    RF_CODEC_PCMU,
    RF_CODEC_PCMA,
};

enum rf_payload_flags {
    RF_PAYLOAD_KEY = 1,         /* holds the start of a key frame's picture data, or (H264/H265)
                                   its parameter sets: single NAL, STAP-A/AP, FU start
                                   (RFC 6184, 7798, 7741, 9628, AV1 RTP) */
    RF_PAYLOAD_PARAMS = 2,      /* H264: holds an SPS; H265: holds VPS or SPS */
    RF_PAYLOAD_DISCARDABLE = 4, /* no other picture refers to it (H264 nal_ref_idc 0 on a slice;
                                   never judged from a STAP-A header; VP8 N bit) */
    RF_PAYLOAD_IDR = 8,         /* H264/H265: holds the first bytes of an IDR/IRAP slice */
    RF_PAYLOAD_MALFORMED = 16,
    RF_PAYLOAD_B = 32, /* H264: the first bytes of a B slice, which browsers show at a wrong time */
};

unsigned rf_payload_inspect(enum rf_codec codec, const uint8_t *payload, size_t len);

/* The size of the pictures that a key frame's first packet tells (H264: its SPS; VP8); else 0. */
int rf_payload_size(enum rf_codec codec, const uint8_t *payload, size_t len, uint16_t *width,
                    uint16_t *height);

#endif
