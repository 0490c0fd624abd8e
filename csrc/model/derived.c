/* See derived.h. */
#include "model/derived.h"

#include <stdlib.h>
#include <string.h>

#include "wire/g711.h"
#include "wire/keyframe.h"

rf_derived *rf_derived_new(const rf_track *source) {
    rf_derived *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    d->mask = source->mask;
    d->room = malloc((size_t)(d->mask + 1) * RF_SLOT_STRIDE);
    atomic_init(&d->from, UINT64_MAX);
    if (!d->room) {
        free(d);
        return NULL;
    }
    return d;
}

void rf_derived_free(rf_derived *d) {
    if (!d)
        return;
    free(d->room);
    free(d);
}

void rf_derived_open(rf_derived *d, const rf_track *source) {
    uint64_t head = atomic_load_explicit(&source->head, memory_order_relaxed);
    atomic_store_explicit(&d->from, head, memory_order_release);
}

void rf_derived_write(rf_derived *d, const rf_track *source, const rf_slot *slot, int codec) {
    uint64_t index = atomic_load_explicit(&source->head, memory_order_relaxed);
    const uint8_t *src = rf_track_room(source, index) + slot->payload_at;
    uint8_t *dst = d->room + (index & d->mask) * RF_SLOT_STRIDE + slot->payload_at;
    size_t content = (size_t)slot->payload_len - slot->padding;
    memcpy(dst + content, src + content, slot->padding);
    if (codec == RF_CODEC_PCMA)
        rf_g711_to_mu(src, dst, content);
    else if (codec == RF_CODEC_PCMU)
        rf_g711_to_a(src, dst, content);
}
