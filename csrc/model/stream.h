/* A stream: two track logs that outlive its publishers, and what the workers tell each other of it.
 * Made and freed by the control plane's thread; freed when every worker has let go (refs). */
#ifndef RF_MODEL_STREAM_H
#define RF_MODEL_STREAM_H

#include "model/track.h"

typedef struct rf_stream {
    rf_handle handle;
    uint16_t owner;     /* worker that writes the logs */
    uint8_t told_close; /* control plane's thread only: nothing more may be asked of it */
    rf_track track[RF_KINDS];
    _Atomic uint64_t subscribers; /* bit w: worker w has viewers of it */
    _Atomic uint32_t viewers;
    _Atomic uint32_t keyframe_wanted;
    _Atomic uint32_t refs; /* workers that may still hold a pointer */
} rf_stream;

#endif
