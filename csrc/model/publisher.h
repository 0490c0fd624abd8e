/* A publisher's sources: one RTP source for audio and for each layer of video, its sequence state,
 * its gaps, its clock. Only the stream's owner touches it. */
#ifndef RF_MODEL_PUBLISHER_H
#define RF_MODEL_PUBLISHER_H

#include "model/rrtr.h"
#include "model/seqmap.h"
#include "rtcfwd.h"

#define RF_GAPS 256
#define RF_PPS 4
#define RF_SETS (2 + RF_PPS)
#define RF_DRIFT_WINDOWS 9
#define RF_ARRIVALS 2048 /* a power of two: numbers that transport-wide feedback reaches back */

typedef struct rf_parameter_set {
    uint8_t bytes[256];
    uint16_t len;   /* 0: none */
    uint8_t id, of; /* its number; that of the set it refers to */
    uint64_t ext;   /* of the packet that it came in; 0: of the offer, or of an earlier source */
} rf_parameter_set;

/* H264's and H265's parameter sets, as they last came (path/parameters.c). */
typedef struct rf_parameters {
    uint8_t codec;
    rf_parameter_set vps, sps, pps[RF_PPS];
    /* the access unit that is arriving */
    uint32_t ts;
    uint64_t ext;
    uint8_t has_ts, had, served; /* served: it was given some here */
    uint8_t counted;
    uint8_t bare;  /* this publisher sends key frames without them … */
    uint8_t heard; /* … but has sent some in the stream */
} rf_parameters;

/* Does it cut frames evenly? (path/even.c) */
typedef struct rf_even {
    uint32_t ts;
    uint16_t len; /* of the newest packet's payload */
    uint8_t habit;
} rf_even;

typedef struct rf_gap {
    uint64_t ext;
    uint64_t since_ns;
    uint64_t first_asked_ns, asked_ns;
    uint8_t tries;
} rf_gap;

/* How a source's clock goes against ours (feedback/clocks.c). Transit: our time of arrival minus
 * its timestamp, in ticks; the least of a span is that of a packet that nothing held up. */
typedef struct rf_drift {
    uint64_t next_ns;               /* end of the present window */
    uint32_t base;                  /* the first transit; the others are against it */
    int32_t least;                  /* of the present second … */
    int32_t window;                 /* … and of the present window */
    int32_t mark[RF_DRIFT_WINDOWS]; /* of the windows before, oldest first */
    uint8_t begun, has_least, has_window, marks;
} rf_drift;

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
    uint64_t repair_spread_ns;
    /* receiver report */
    uint64_t expected_prior, received_prior;
    uint32_t transit;
    double jitter;
    uint32_t last_sr_mid; /* middle 32 bits of the last SR's NTP */
    uint64_t last_sr_ns;
    uint64_t sr_ntp_ns; /* what it said: this moment of its own clock … */
    uint32_t sr_rtp;    /* … is this timestamp of its own */
    uint8_t sr_fresh;   /* the clock line does not know it yet */
    uint8_t has_line;   /* the clock line is this source's */
    uint8_t spurt;      /* the next packet begins a talkspurt for viewers */
    rf_drift drift;
    uint64_t first_media_ns, last_media_ns;
    uint64_t repaired;
    uint64_t keyframe_asked_ns;
    uint64_t keyframe_since_ns; /* our first request since the newest key frame; 0: none */
    uint8_t params_seen;        /* parameter sets came, or were asked for */
    uint8_t fir_seq;
    rf_parameters parameters;
    rf_even even;
    uint32_t spare_ts; /* H264: of the newest picture with nal_ref_idc 0 … */
    uint8_t spares;    /* … and how many more such are believed it: path/append.c */
} rf_source;

/* When packets came, by their transport-wide number (feedback/twcc.c). Numbers in [end -
 * RF_ARRIVALS, end) have their place; those from `begin` on have not been told of. */
typedef struct rf_arrivals {
    uint64_t tick[RF_ARRIVALS]; /* in steps of 250 µs, from 1; 0: not come */
    uint64_t begin, end;        /* 0: none came yet */
    uint64_t next_ns;           /* of the next feedback */
    uint32_t ssrc;              /* of the newest */
    uint8_t count;              /* of feedback packets sent */
} rf_arrivals;

typedef struct rf_pub {
    rf_publication setup;
    rf_source source[RF_LOGS];
    int64_t ntp_offset_ns; /* our monotonic clock minus the publisher's NTP, both in ns */
    int has_offset;
    int arrival_clock; /* no SR came in time: arrival stands in, for good */
    uint64_t rtt_ns;
    uint64_t first_media_ns, last_media_ns;
    uint64_t next_report_ns;
    uint64_t next_rank_ns; /* of simulcast layers */
    int silent;
    rf_arrivals arrivals;
    rf_rrtrs rrtrs;
} rf_pub;

#endif
