/* A stream: track logs (audio, video; one more for each further simulcast layer) that outlive its
 * publishers, and what the workers tell each other of it.
 * Made and freed by the control plane's thread; freed when every worker has let go (refs). */
#ifndef RF_MODEL_STREAM_H
#define RF_MODEL_STREAM_H

#include "model/delays.h"
#include "model/derived.h"

typedef struct rf_stream {
    rf_handle handle;
    uint16_t owner;     /* worker that writes the logs */
    uint8_t told_close; /* control plane's thread only: nothing more may be asked of it */
    rf_track track[RF_LOGS];
    _Atomic uint32_t logs; /* how many of them exist; never fewer than before */
    /* The log for a viewer without a choice, then for a viewer of each layer (path/layer.c). */
    _Atomic uint8_t use[1 + RF_LAYERS];
    rf_derived *derived; /* owner: of the audio, in the other G.711 law; NULL: nobody needs it */
    rf_derived *told_derived; /* control plane's thread only, as the next: what the owner has or */
    uint32_t derived_viewers; /* will have, and how many peers may read it */
    _Atomic uint64_t subscribers; /* bit w: worker w has viewers of it */
    _Atomic uint32_t viewers;
    rf_counter feedback_sent;         /* transport-wide, to its publishers */
    _Atomic uint64_t layer_changes;   /* of its viewers; any worker counts */
    rf_recent_delays *delays;         /* owned: of each worker, which writes its own */
    _Atomic uint32_t keyframe_wanted; /* bit i: of log i */
    _Atomic uint8_t line_epoch;       /* of the clock lines: another publication, or source */
    _Atomic uint32_t refs;            /* workers that may still hold a pointer */
    uint8_t told_layers;              /* control plane's thread only */
} rf_stream;

#define RF_NO_LOG 255

static inline int rf_kind_of_log(int log) {
    return log == RF_AUDIO ? RF_AUDIO : RF_VIDEO;
}

static inline int rf_stream_logs(const rf_stream *s) {
    return (int)atomic_load_explicit(&s->logs, memory_order_acquire);
}

#endif
