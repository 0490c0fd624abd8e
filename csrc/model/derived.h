/* A derived log: the audio of a stream in the other law of G.711, for viewers that offered only
 * that one. It is made once, by the writer, whatever the number of such viewers.
 *
 * It holds payloads alone, at the same index and offset as the log it is derived from: A-law and
 * µ-law have one byte a sample, so numbers, timestamps, markers, CSRCs, extensions and lengths are
 * those of the source's slot, and its pins and its head hold for both. So a viewer's cursor,
 * segments and NACKs know nothing of it; which packets it reads here is a bit a format.
 *
 * Made by the control plane's thread when the first viewer that needs it comes, written by the
 * stream's owner, taken back when the last one has gone (docs/threads.md). */
#ifndef RF_MODEL_DERIVED_H
#define RF_MODEL_DERIVED_H

#include "model/track.h"

typedef struct rf_derived {
    uint8_t *room; /* owned: as many as the source's slots × RF_SLOT_STRIDE */
    uint64_t mask;
    _Atomic uint64_t from; /* first index of the source that is here too; UINT64_MAX: none yet */
} rf_derived;

rf_derived *rf_derived_new(const rf_track *source); /* NULL: no memory */
void rf_derived_free(rf_derived *d);                /* NULL is fine */

/* Writer: from the source's next packet on. */
void rf_derived_open(rf_derived *d, const rf_track *source);
/* Writer, between reserve and commit of the source's slot: its payload in the other law. Another
 * codec has none: nothing is written. */
void rf_derived_write(rf_derived *d, const rf_track *source, const rf_slot *slot, int codec);

/* Reader, while it pins the source: the payload of a slot, or NULL when it is not here. */
static inline const uint8_t *rf_derived_payload(const rf_derived *d, uint64_t index,
                                                const rf_slot *slot) {
    if (!d || index < atomic_load_explicit(&d->from, memory_order_acquire))
        return NULL;
    return d->room + (index & d->mask) * RF_SLOT_STRIDE + slot->payload_at;
}

#endif
