/* A publisher's sources: one RTP source per kind, its sequence state, its gaps, its clock.
 * Only the stream's owner touches it. */
#ifndef RF_MODEL_PUBLISHER_H
#define RF_MODEL_PUBLISHER_H

#include "model/seqmap.h"
#include "rtcfwd.h"

#define RF_GAPS 256

typedef struct rf_gap {
    uint64_t ext;
    uint64_t since_ns;
    uint64_t first_asked_ns, asked_ns;
    uint8_t tries;
} rf_gap;

typedef struct rf_source {
    uint32_t ssrc;     /* 0: none yet */
    uint32_t rtx_ssrc; /* learned or signalled */
    uint8_t format;    /* of its newest packet */
    int started;       /* the map is open */
    int held;          /* waiting for a key frame to open the map with */
    uint64_t first_ext, highest_ext;
    uint64_t received;
    uint32_t ts_delta;      /* stream ts = publisher's ts + delta */
    uint64_t probation_ext; /* RFC 3550 A.1: expected next after a big jump; 0: none */
    rf_seqmap map;
    rf_gap gap[RF_GAPS];
    int gaps;
    uint64_t repair_ns; /* from our first NACK to the packet, smoothed; 0: not known */
    /* receiver report */
    uint64_t expected_prior, received_prior;
    uint32_t transit;
    double jitter;
    uint32_t last_sr_mid; /* middle 32 bits of the last SR's NTP */
    uint64_t last_sr_ns;
    int sr_count;
    uint64_t first_media_ns, last_media_ns;
    uint64_t repaired;
} rf_source;

typedef struct rf_pub {
    rf_publication setup;
    rf_source source[RF_KINDS];
    int64_t ntp_offset_ns; /* our monotonic clock minus the publisher's NTP, both in ns */
    int has_offset;
    int arrival_clock; /* no SR came in time: arrival stands in, for good */
    uint64_t rtt_ns;
    uint64_t first_media_ns, last_media_ns;
    uint64_t next_report_ns;
    uint64_t keyframe_asked_ns;
    uint8_t fir_seq;
    uint8_t params_seen; /* parameter sets came, or were asked for */
    int silent;
    uint8_t sps[256];
    uint16_t sps_len;
} rf_pub;

#endif
