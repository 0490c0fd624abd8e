/* The writer's map from a publication's extended sequence numbers to the stream's own.
 * A restart, a takeover, an injected or a left-out packet changes this map and nothing else.
 *
 *   stream_seq = ext + delta of the newest segment whose first_ext is not above ext
 *
 * A short history of segments is kept, so that a late packet gets the number it would have had. */
#ifndef RF_MODEL_SEQMAP_H
#define RF_MODEL_SEQMAP_H

#include <stdint.h>

#define RF_SEQMAP_SEGMENTS 64

typedef struct rf_seqmap {
    struct {
        uint64_t first_ext;
        int64_t delta;
    } segment[RF_SEQMAP_SEGMENTS];
    uint32_t count; /* segments ever opened since the last start */
} rf_seqmap;

/* A new publication: ext is to become stream_seq; nothing older is accepted. */
void rf_seqmap_start(rf_seqmap *m, uint64_t ext, uint64_t stream_seq);
/* ext gets no number: everything behind it moves down by one. */
void rf_seqmap_leave_out(rf_seqmap *m, uint64_t ext);
/* `count` packets of our own take the numbers that ext was to get; it and everything behind it
 * moves up. Only while nothing from ext on has a number. */
void rf_seqmap_insert(rf_seqmap *m, uint64_t ext, int count);
/* 1 and *stream_seq, or 0: older than the map reaches, or left out. */
int rf_seqmap_find(const rf_seqmap *m, uint64_t ext, uint64_t *stream_seq);

#endif
