/* The log of one track: a ring of packets in arrival order that is at once every viewer's send
 * queue, the retransmission buffer and the start buffer.
 *
 * One thread writes (the stream's owner); any worker reads. Rules, all of them checked by TSan:
 *  - slots in [tail, head) may be read by a worker that has pinned an index it will not read below;
 *  - the writer moves tail first, then looks at the pins (both seq_cst); a pin below the new tail
 *    means a slow reader, and the new packet is dropped rather than the old one overwritten;
 *  - the writer's own thread reads without a pin.
 * Indexes are 64-bit and never wrap; slot = index & mask.
 *
 *      tail          key_start                       head
 *        | oldest ......| first packet of the newest ..| next to be written
 *                       | key frame                    |
 */
#ifndef RF_MODEL_TRACK_H
#define RF_MODEL_TRACK_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/counter.h"
#include "rtcfwd.h"

#define RF_SLOT_EXTS 6
#define RF_SLOT_ROOM 1600   /* CSRCs, extension data and payload of one packet */
#define RF_SLOT_STRIDE 1664 /* not a power of two: neighbours fall into different cache sets */
#define RF_NO_PIN UINT64_MAX

typedef struct rf_slot {
    uint64_t stream_seq; /* the stream's own sequence number, 64 bits */
    uint64_t arrival_ns;
    uint64_t total_bytes; /* payload bytes appended to the log up to and with this packet */
    uint32_t ts;          /* the stream's own RTP clock */
    uint16_t payload_at;  /* offset into the slot's room */
    uint16_t payload_len; /* its padding included */
    uint8_t format;
    uint8_t marker;
    uint8_t flags; /* enum rf_payload_flags */
    uint8_t
        padding; /* bytes at the payload's end (RFC 3550 P bit); all of one that fills a number */
    uint8_t csrc_count; /* CSRCs stand at the start of the room */
    uint8_t ext_count;
    struct {
        uint8_t kind, len;
        uint16_t at;
    } ext[RF_SLOT_EXTS];
} rf_slot;

typedef struct rf_pin {
    _Alignas(64) _Atomic uint64_t low;
} rf_pin;

typedef struct rf_track {
    /* fixed at creation */
    rf_slot *slots;           /* owned */
    uint8_t *room;            /* owned: slot count × RF_SLOT_STRIDE */
    _Atomic uint64_t *by_seq; /* owned: stream_seq & mask -> index + 1 */
    uint64_t mask;
    uint8_t kind, log; /* log: its place in its stream */

    /* written by the stream's owner, read by every worker */
    _Alignas(64) _Atomic uint64_t head;
    _Atomic uint64_t tail;
    _Atomic uint64_t key_start; /* index + 1 of the newest key frame's first packet; 0: none */
    _Atomic uint64_t key_seq;   /* lowest stream_seq of that frame */
    _Atomic uint64_t key_interval_ns; /* between the newest two key frames; 0: not known */
    _Atomic uint64_t clock_line;      /* see model/clock.h */
    _Atomic uint32_t clock_rate;

    rf_pin pins[RF_MAX_WORKERS];

    /* owner only */
    _Alignas(64) uint64_t appended_bytes;
    uint64_t highest_seq; /* highest stream_seq in the log */
    uint64_t highest_ns;  /* when it arrived */
    uint32_t highest_ts;
    uint32_t frame_ts;           /* timestamp of the frame that is arriving … */
    uint64_t frame_start;        /* … and the index of its first packet */
    uint64_t frame_seq;          /* … and its lowest stream_seq */
    uint64_t key_arrival_ns;     /* of the newest key frame */
    uint64_t bits_seen, bits_ns; /* of the bitrate's measuring */
    int has_packets;

    /* figures */
    rf_counter packets, bytes, keyframes, duplicates;
    _Atomic uint32_t format, codec, ssrc, jitter, active;
    rf_counter lost, repaired, nacks_sent, keyframe_requests;
    rf_counter b_frames, parameters_added, parameters_missing, bitrate;
    _Atomic uint32_t size;     /* width << 16 | height */
    _Atomic int32_t drift_ppm; /* by how much the publisher's clock is fast */
    rf_counter keys_prompt, keys_late, plis_unanswered, inspected, discardable;
} rf_track;

/* slots: a power of two. RF_ENOMEM. */
int rf_track_init(rf_track *t, int kind, int log, uint32_t slots);
void rf_track_free(rf_track *t);

static inline rf_slot *rf_track_slot(const rf_track *t, uint64_t index) {
    return &t->slots[index & t->mask];
}

static inline uint8_t *rf_track_room(const rf_track *t, uint64_t index) {
    return t->room + (index & t->mask) * RF_SLOT_STRIDE;
}

/* ---- writer ---- */

/* The slot for the next packet, or NULL when a slow reader pins it. Fill it and its room, then
 * commit. `own` is the writer's worker number, whose pin does not count. */
rf_slot *rf_track_reserve(rf_track *t, int workers, int own);
/* Publishes the reserved slot. `key`: it belongs to a key frame's start (see append.c). */
void rf_track_commit(rf_track *t, rf_slot *slot, int key);

/* ---- readers ---- */

/* The lowest index that may be read without being lapped soon (an eighth of the ring is margin). */
static inline uint64_t rf_track_low(const rf_track *t, uint64_t head) {
    uint64_t slots = t->mask + 1;
    uint64_t reach = slots - slots / 8;
    return head > reach ? head - reach : 0;
}

/* Pins the log for worker `w` and returns the lowest index it may read; *head is the end. */
uint64_t rf_track_pin(rf_track *t, int w, uint64_t *head);
void rf_track_unpin(rf_track *t, int w);

/* The index of a stream sequence number inside the pinned [low, head), or RF_NO_PIN. */
uint64_t rf_track_find(const rf_track *t, uint64_t stream_seq, uint64_t low, uint64_t head);

/* The newest key frame's first index and lowest number; 0 when there is none at or above low. */
int rf_track_key(const rf_track *t, uint64_t low, uint64_t *index, uint64_t *seq);

#endif
