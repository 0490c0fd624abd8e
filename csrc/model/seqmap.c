/* See seqmap.h. The segments form a ring; the newest is looked at first, and nearly always fits. */
#include "model/seqmap.h"

void rf_seqmap_start(rf_seqmap *m, uint64_t ext, uint64_t stream_seq) {
    m->segment[0].first_ext = ext;
    m->segment[0].delta = (int64_t)(stream_seq - ext);
    m->count = 1;
}

void rf_seqmap_leave_out(rf_seqmap *m, uint64_t ext) {
    uint32_t newest = (m->count - 1) % RF_SEQMAP_SEGMENTS;
    int64_t delta = m->segment[newest].delta - 1;
    if (m->segment[newest].first_ext == ext + 1 || m->segment[newest].first_ext == ext) {
        m->segment[newest].first_ext = ext + 1; /* an empty segment: move it */
        m->segment[newest].delta = delta;
        return;
    }
    uint32_t next = m->count % RF_SEQMAP_SEGMENTS;
    m->segment[next].first_ext = ext + 1;
    m->segment[next].delta = delta;
    m->count++;
}

void rf_seqmap_insert(rf_seqmap *m, uint64_t ext, int count) {
    uint32_t newest = (m->count - 1) % RF_SEQMAP_SEGMENTS;
    int64_t delta = m->segment[newest].delta + count;
    if (m->segment[newest].first_ext != ext)
        newest = m->count++ % RF_SEQMAP_SEGMENTS;
    m->segment[newest].first_ext = ext;
    m->segment[newest].delta = delta;
}

int rf_seqmap_find(const rf_seqmap *m, uint64_t ext, uint64_t *stream_seq) {
    uint32_t kept = m->count < RF_SEQMAP_SEGMENTS ? m->count : RF_SEQMAP_SEGMENTS;
    for (uint32_t back = 0; back < kept; back++) {
        uint32_t i = (m->count - 1 - back) % RF_SEQMAP_SEGMENTS;
        if (m->segment[i].first_ext > ext)
            continue;
        *stream_seq = (uint64_t)((int64_t)ext + m->segment[i].delta);
        if (back == 0)
            return 1;
        uint32_t next = (i + 1) % RF_SEQMAP_SEGMENTS;
        /* left out: its number went to a packet behind it */
        return *stream_seq <
               (uint64_t)((int64_t)m->segment[next].first_ext + m->segment[next].delta);
    }
    return 0;
}
