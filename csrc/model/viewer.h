/* A viewer: a cursor into each track's log, and what its packets look like on its own leg.
 * Only its owner touches it.
 *
 *   out_seq = stream_seq + offset        of the newest segment that reaches it
 *   out_ts  = stream ts  + ts_offset
 *
 * A jump (start, lapped, format not negotiated) opens a segment; numbers stay without a hole.
 * Everything sent under an out_seq is a function of the slot and the segment alone, so that a
 * resend on the same SSRC repeats the same bytes under the same nonce. */
#ifndef RF_MODEL_VIEWER_H
#define RF_MODEL_VIEWER_H

#include <string.h>

#include "base/bucket.h"
#include "base/counter.h"
#include "model/derived.h"
#include "model/rrtr.h"
#include "rtcfwd.h"

#define RF_SEGMENTS 8
#define RF_OUT_ORIGIN                                                                              \
    (1ull << 16)       /* 64-bit outgoing numbers start one lap up; SRTP counts from 0 */
#define RF_RESENDS 128 /* NACKed numbers remembered for gating; a power of two */
#define RF_GREETING 64 /* packets of a segment that carry MID and playout-delay */
#define RF_DELAY_FREE 0x8000u

enum rf_view_state {
    RF_VIEW_NEW,    /* not sent anything yet */
    RF_VIEW_WAIT,   /* waits for a key frame at or behind wait_index */
    RF_VIEW_POSTER, /* sends one key frame alone, then waits for the next */
    RF_VIEW_BURST,  /* catching up from the key frame, paced */
    RF_VIEW_LIVE,
    RF_VIEW_THIN, /* gets what its estimate allows (path/thin.c) */
};

/* How much of the video a viewer is to get. */
enum rf_thin {
    RF_THIN_ALL,
    RF_THIN_FITS,   /* what its estimate allows: discardable frames go first */
    RF_THIN_PAUSED, /* none: there is room for sound at most */
};

typedef struct rf_segment {
    uint64_t first_out;    /* 64-bit out_seq */
    uint64_t first_stream; /* stream_seq that first_out stands for */
    uint32_t ts_offset;
    uint8_t log;    /* that its packets are from */
    uint8_t greets; /* its first packets carry MID and playout-delay: */
    uint16_t
        delay; /* the least, in units of 10 ms; with RF_DELAY_FREE the most is 40.95 s, not 0 */
} rf_segment;

typedef struct rf_resend {
    uint64_t out_seq;
    uint64_t at_ns;
    uint8_t tries;
} rf_resend;

/* What is believed of a viewer's way, and since when: feedback/estimate.c. Rates are bits a second
 * of all that is sent to it, with every header. */
typedef struct rf_way {
    uint64_t bps;         /* 0: nothing speaks against any rate */
    uint64_t ceiling_bps; /* what came through when it was last too much; 0: not known */
    uint64_t congested_ns, hold_ns;
    uint64_t settle_ns; /* reports until then still tell of what was sent before */
    uint64_t drain_ns;  /* no video before: the queue on its way empties */
    /* the window of reports that is open */
    uint64_t since_ns, sent_bytes, track_bytes, track_packets, track_next;
    uint32_t highest;
    int32_t lost;
    /* round trips: newest, least of two windows */
    uint64_t rtt_ns, rtt_least_ns[2], rtt_turn_ns;
    /* at the first of several cuts that did not help: what is not our doing */
    uint64_t first_excess_ns;
    uint8_t first_loss, base_loss;
    uint8_t kind, open, bad, good, cuts, fast;
    uint8_t percent;   /* of the video that the newest window lost */
    uint8_t lossy;     /* windows with much loss, less those without */
    uint64_t lossy_ns; /* when several had said so; 0: never */
    uint8_t rembs;     /* in the second that began at */
    uint64_t remb_second_ns;
    /* path/thin.c */
    uint64_t grown_ns, sr_ns; /* the newest SR's going, whether video was waiting then … */
    uint32_t sr_mid;          /* … and how a report names it */
    uint8_t sr_busy, sr_told;
    uint16_t fresh_seq;         /* the first that was sent after a cut */
    uint64_t busy_ns, asked_ns; /* for so long it has been waiting since the estimate changed */
    uint64_t waited_ns;         /* when video last had to wait … */
    uint64_t pressed_ns;        /* … for long, or was left out */
    uint64_t others, debt;      /* bytes that went without asking: counted, and still to be paid */
    uint64_t skip_from;         /* log index */
    uint64_t skipped_ns;        /* 0: never */
    uint64_t audio_bytes;       /* at the window's beginning */
    uint32_t passing_ts;        /* of the frame that is being left out */
    uint8_t passing, skipping;
    /* feedback/breaker.c: time for which we sent and heard nothing, or nothing arrived */
    uint64_t watched_ns, watched_all, watched_video, silent_ns, stuck_ns, tripped_ns;
    uint8_t reported, heavy; /* heavy: windows in turn that TCP would not have borne */
} rf_way;

/* Up and down between layers: path/layer_fit.c. */
typedef struct rf_fit {
    uint64_t since_ns;         /* a larger one fits since then; 0: none */
    uint64_t up_ns;            /* when one was tried; 0: it held, or did not */
    uint8_t from;              /* … and from where: a place in rf_stream.use */
    uint8_t failed[RF_LAYERS]; /* trials of each layer that did not hold */
    uint8_t told;              /* the log that the control plane knows of; 0: none */
    /* path/layer_probe.c */
    uint8_t probing; /* no report has told yet */
    uint8_t wider;   /* it carries what it did not */
    uint64_t probe_ns;
    uint64_t probe_bytes, probe_bps; /* with so many; for what rate */
    uint32_t probe_mid;              /* the SR behind them, as a report names it */
    rf_counter changes;
} rf_fit;

/* What every packet touches comes first: two cache lines. */
typedef struct rf_view_track_state {
    _Alignas(64) uint8_t state; /* enum rf_view_state */
    uint8_t jump;               /* the next packet opens a segment */
    uint8_t has_jump_seq;       /* … at jump_seq, the lowest number of its key frame */
    uint8_t segments;           /* in use */
    uint8_t present;            /* negotiated: a copy of the set-up's */
    uint8_t sr_count;
    uint8_t log;        /* of its stream, that the cursor is in */
    uint8_t open_frame; /* the newest packet sent was not its frame's last */
    uint32_t ssrc;      /* a copy of the set-up's */
    uint32_t poster_ts;
    uint32_t last_ts;   /* of the newest packet sent, on the viewer's clock */
    uint32_t ts_offset; /* of the next segment */
    uint64_t cursor;    /* log index of the next packet to send */
    uint64_t next_out;  /* out_seq of the next new segment's first packet: highest sent + 1 */
    uint64_t cut;       /* lowest stream_seq of the newest segment: nothing older is sent */
    rf_counter octets;  /* of payload, for sender reports */
    rf_counter packets, bytes;
    rf_counter told_cursor;               /* the cursor, for figures */
    uint8_t pt_of_format[RF_MAX_FORMATS]; /* a copy of the set-up's */
    uint16_t derived;                     /* bit f: packets of format f come from the derived log */
    rf_segment segment[RF_SEGMENTS];
    uint64_t wait_index;
    uint64_t jump_seq;
    uint64_t rtx_seq;
    uint64_t live_ns; /* when the newest start burst was over */
    uint64_t sr_ns;
    uint8_t choice; /* place in rf_stream.use: 0 its own, 1 + the number of a layer it asked for */
    uint8_t fit;    /* the same, while it has not: 0 the best, 1 + that of one that fits its way */
    uint8_t thin;   /* enum rf_thin; video's */
    /* figures */
    _Atomic uint8_t told_log;
    rf_counter resent, resent_bytes, nacks, plis, skipped;
    _Atomic uint32_t fraction_lost, jitter;
    _Atomic int32_t cumulative_lost;
} rf_view_track_state;

/* A payload type for a format that has another one. */
typedef struct rf_retype {
    uint8_t wanted, format, pt, rtx_pt;
} rf_retype;

typedef struct rf_view {
    rf_view_track_state track[RF_KINDS];
    rf_subscription setup;
    const rf_derived *derived; /* the stream's, which outlives the viewer; NULL: none needed */
    uint64_t rtt_ns;
    rf_bucket pace; /* of the start burst, or of thinned video, in bytes */
    uint64_t slowed_ns;
    uint8_t slower; /* the pace is shifted right by it */
    rf_bucket resend_budget;
    rf_resend resend[RF_RESENDS];
    uint32_t position;                 /* in its subscription's array */
    rf_counter remb_bps, estimate_bps; /* 0: none */
    _Atomic uint8_t told_slow;         /* enum rf_slow */
    rf_way way;
    rf_fit fit;
    uint64_t delay_told_ns; /* feedback/playout.c */
    uint8_t line_epoch;     /* of the clock lines that it was told last */
    uint8_t began_anew;     /* its start was damaged, and sent again */
    rf_retype retype;       /* path/start.c */
    rf_rrtrs rrtrs;
} rf_view;

/* The place of one more segment, the newest; the oldest gives way. */
static inline rf_segment *rf_segment_new(rf_view_track_state *s) {
    if (s->segments == RF_SEGMENTS)
        memmove(s->segment, s->segment + 1, sizeof s->segment[0] * (RF_SEGMENTS - 1));
    else
        s->segments++;
    return &s->segment[s->segments - 1];
}

/* What a viewer gets of a pinned slot; NULL: nothing, the derived log began behind it. */
static inline const uint8_t *rf_view_payload(const rf_view *v, const rf_track *t, uint64_t index,
                                             const rf_slot *slot) {
    if (v->track[t->kind].derived >> (slot->format & (RF_MAX_FORMATS - 1)) & 1)
        return rf_derived_payload(v->derived, index, slot);
    return rf_track_room(t, index) + slot->payload_at;
}

#endif
