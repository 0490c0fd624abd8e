/* The track log's writer and reader protocol; the rules stand in track.h. */
#include "model/track.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

enum {
    FRAME_REACH = 17, /* packets missing before a frame that may belong to it */
    LATE_REACH = 512  /* how far back a key frame is looked for whose start comes late */
};

int rf_track_init(rf_track *t, int kind, int log, uint32_t slots) {
    memset(t, 0, sizeof *t);
    if (slots == 0 || (slots & (slots - 1)))
        return RF_EINVAL;
    t->kind = (uint8_t)kind;
    t->log = (uint8_t)log;
    t->mask = slots - 1;
    t->slots = calloc(slots, sizeof *t->slots);
    t->room = malloc((size_t)slots * RF_SLOT_STRIDE);
    t->by_seq = calloc(slots, sizeof *t->by_seq);
    for (int w = 0; w < RF_MAX_WORKERS; w++)
        atomic_init(&t->pins[w].low, RF_NO_PIN);
    if (!t->slots || !t->room || !t->by_seq) {
        rf_track_free(t);
        return RF_ENOMEM;
    }
    return RF_OK;
}

void rf_track_free(rf_track *t) {
    free(t->slots);
    free(t->room);
    free((void *)t->by_seq);
    t->slots = NULL;
    t->room = NULL;
    t->by_seq = NULL;
}

rf_slot *rf_track_reserve(rf_track *t, int workers, int own) {
    uint64_t head = atomic_load_explicit(&t->head, memory_order_relaxed);
    uint64_t slots = t->mask + 1;
    if (head >= slots) {
        uint64_t tail = head - slots + 1;
        atomic_store_explicit(&t->tail, tail, memory_order_seq_cst);
        for (int w = 0; w < workers; w++)
            if (w != own && atomic_load_explicit(&t->pins[w].low, memory_order_seq_cst) < tail)
                return NULL;
    }
    return rf_track_slot(t, head);
}

static void key_begins(rf_track *t, uint64_t index, uint64_t seq, uint64_t arrival_ns) {
    atomic_store_explicit(&t->key_seq, seq, memory_order_relaxed);
    atomic_store_explicit(&t->key_start, index + 1, memory_order_release);
    rf_count(&t->keyframes, 1);
    if (t->key_arrival_ns)
        atomic_store_explicit(&t->key_interval_ns, arrival_ns - t->key_arrival_ns,
                              memory_order_relaxed);
    t->key_arrival_ns = arrival_ns;
}

/* A key frame shows itself by its first packet only; when that one was repaired, later frames may
 * have begun meanwhile. The frame's other packets stand in the log already: it began there. */
static void late_key(rf_track *t, const rf_slot *slot, uint64_t head) {
    uint64_t start = atomic_load_explicit(&t->key_start, memory_order_relaxed);
    uint64_t reach = t->mask / 2 < LATE_REACH ? t->mask / 2 : LATE_REACH;
    uint64_t floor = head > reach ? head - reach : 0;
    uint64_t first = head, seq = slot->stream_seq, before = 0;
    if (start > floor)
        floor = start - 1;
    for (uint64_t i = floor; i < head; i++) {
        const rf_slot *other = rf_track_slot(t, i);
        if (other->ts != slot->ts)
            continue;
        if (i == start - 1)
            return; /* known */
        first = i < first ? i : first;
        seq = other->stream_seq < seq ? other->stream_seq : seq;
    }
    for (uint64_t i = floor; i < head; i++) {
        const rf_slot *other = rf_track_slot(t, i);
        if (other->stream_seq < seq && other->stream_seq > before)
            before = other->stream_seq;
    }
    if (start == floor + 1 && rf_track_slot(t, floor)->stream_seq > seq)
        return; /* there is a newer one */
    key_begins(t, first, seq - before <= FRAME_REACH ? before + 1 : seq, slot->arrival_ns);
}

void rf_track_commit(rf_track *t, rf_slot *slot, int key) {
    uint64_t head = atomic_load_explicit(&t->head, memory_order_relaxed);
    t->appended_bytes += slot->payload_len;
    slot->total_bytes = t->appended_bytes;
    int new_frame = !t->has_packets || slot->ts != t->frame_ts;
    /* A late packet of an earlier frame does not begin a frame. */
    if (new_frame && (!t->has_packets || slot->stream_seq > t->highest_seq)) {
        t->frame_ts = slot->ts;
        t->frame_start = head;
        /* What is missing before it may be its beginning: a viewer that starts here takes it. */
        t->frame_seq = slot->stream_seq - t->highest_seq <= FRAME_REACH ? t->highest_seq + 1
                                                                        : slot->stream_seq;
    } else if (!new_frame && slot->stream_seq < t->frame_seq) {
        t->frame_seq = slot->stream_seq;
    }
    if (!t->has_packets || slot->stream_seq > t->highest_seq) {
        t->highest_seq = slot->stream_seq;
        t->highest_ts = slot->ts;
        t->highest_ns = slot->arrival_ns;
    }
    t->has_packets = 1;
    atomic_store_explicit(&t->by_seq[slot->stream_seq & t->mask], head + 1, memory_order_release);
    if (slot->ts == t->frame_ts) {
        uint64_t start = atomic_load_explicit(&t->key_start, memory_order_relaxed);
        if (key && start != t->frame_start + 1)
            key_begins(t, t->frame_start, t->frame_seq, slot->arrival_ns);
        else if (start == t->frame_start + 1)
            atomic_store_explicit(&t->key_seq, t->frame_seq, memory_order_relaxed);
    } else if (key) {
        late_key(t, slot, head);
    }
    rf_count(&t->packets, 1);
    rf_count(&t->bytes, slot->payload_len);
    atomic_store_explicit(&t->head, head + 1, memory_order_seq_cst);
}

uint64_t rf_track_pin(rf_track *t, int w, uint64_t *head) {
    for (;;) {
        uint64_t seen = atomic_load_explicit(&t->head, memory_order_acquire);
        uint64_t low = rf_track_low(t, seen);
        atomic_store_explicit(&t->pins[w].low, low, memory_order_seq_cst);
        if (atomic_load_explicit(&t->tail, memory_order_seq_cst) <= low) {
            *head = atomic_load_explicit(&t->head, memory_order_acquire);
            return low;
        }
    }
}

void rf_track_unpin(rf_track *t, int w) {
    atomic_store_explicit(&t->pins[w].low, RF_NO_PIN, memory_order_release);
}

uint64_t rf_track_find(const rf_track *t, uint64_t stream_seq, uint64_t low, uint64_t head) {
    uint64_t index = atomic_load_explicit(&t->by_seq[stream_seq & t->mask], memory_order_acquire);
    if (index == 0 || --index < low || index >= head)
        return RF_NO_PIN;
    return rf_track_slot(t, index)->stream_seq == stream_seq ? index : RF_NO_PIN;
}

int rf_track_key(const rf_track *t, uint64_t low, uint64_t *index, uint64_t *seq) {
    for (;;) {
        uint64_t start = atomic_load_explicit(&t->key_start, memory_order_acquire);
        uint64_t first = atomic_load_explicit(&t->key_seq, memory_order_relaxed);
        if (start == 0 || start - 1 < low)
            return 0;
        if (atomic_load_explicit(&t->key_start, memory_order_acquire) != start)
            continue;
        *index = start - 1;
        *seq = first;
        return 1;
    }
}
