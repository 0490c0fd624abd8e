/* A forwarder in memory with a publisher and viewers, for tests that look at it from outside: what
 * goes in by rf_inject, what comes out by rf_take_sent, what is counted under which name. SRTP is
 * the stub of stub_srtp.h; time is a number that the test moves. */
#ifndef RF_TESTS_WORLD_H
#define RF_TESTS_WORLD_H

#include "base/error.h"
#include "stub_srtp.h"
#include "test.h"

#define MS 1000000ull
#define SECOND 1000000000ull

typedef struct world {
    rf_forwarder *f;
    int workers;
    uint64_t now;
    rf_handle stream;
    uint16_t next_port;
    void (*sent)(const rf_path *to, const uint8_t *data, size_t len); /* NULL: thrown away */
    uint64_t sent_count;
    uint64_t events[16]; /* by enum rf_event_type */
} world;

typedef struct member {
    rf_handle peer;
    rf_path path;
    uint32_t ssrc; /* a viewer's audio; video is the next one, RTX the one after */
} member;

static int world_key; /* what stands for an srtp_t */

static inline void world_open(world *w, const rf_config *c) {
    memset(w, 0, sizeof *w);
    w->workers = c->workers;
    w->now = 1000 * SECOND;
    w->next_port = 2000;
    CHECK_EQ(rf_new(c, &w->f), RF_OK);
    CHECK_EQ(rf_stream_open(w->f, &w->stream), RF_OK);
}

static inline void world_poll(world *w) {
    static rf_event e;
    while (rf_poll(w->f, &e))
        w->events[e.type]++;
}

static inline void world_collect(world *w) {
    uint8_t out[2048];
    rf_path to;
    for (int i = 0; i < w->workers; i++)
        for (int n; (n = rf_take_sent(w->f, i, &to, out, sizeof out)) > 0; w->sent_count++)
            if (w->sent)
                w->sent(&to, out, (size_t)n);
}

/* Turns of every worker until none has more to do, and what they sent. */
static inline void world_turn(world *w) {
    for (int again = 2; again > 0; again--)
        for (int i = 0; i < w->workers; i++)
            for (int n = 0; rf_turn(w->f, i, w->now) > 0; n++) {
                CHECK(n < 10000);
                world_collect(w);
            }
    world_collect(w);
}

static inline void world_pass(world *w, uint64_t ns) {
    for (uint64_t end = w->now + ns; w->now < end;) {
        w->now += 5 * MS;
        world_turn(w);
    }
}

static inline void world_close(world *w) {
    for (int i = 0; i < 4; i++) {
        world_turn(w);
        world_poll(w);
    }
    rf_free(w->f);
}

/* A peer with its tuple, not yet with keys. */
static inline void member_open(world *w, member *m, int role) {
    char name[8];
    memset(m, 0, sizeof *m);
    m->ssrc = 10u * w->next_port;
    stub_path(&m->path, w->next_port);
    int n = snprintf(name, sizeof name, "%u", (unsigned)w->next_port++);
    CHECK_EQ(rf_peer_open(w->f, w->stream, role, &m->peer), RF_OK);
    CHECK_EQ(rf_peer_ufrag(w->f, m->peer, (const uint8_t *)name, (size_t)n, NULL, 0, 0), RF_OK);
    CHECK_EQ(rf_peer_path(w->f, m->peer, &m->path), RF_OK);
}

static inline void member_keys(world *w, member *m) {
    CHECK_EQ(rf_peer_keys(w->f, m->peer, 7, &world_key, &world_key, NULL), RF_OK);
    world_turn(w);
}

static inline void world_publish(world *w, member *m) {
    rf_publication p;
    stub_publication(&p);
    member_open(w, m, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w->f, m->peer, &p), RF_OK);
    member_keys(w, m);
}

static inline void world_view(world *w, member *m, int rtx) {
    rf_subscription s;
    member_open(w, m, RF_VIEWER);
    stub_subscription(&s, m->ssrc);
    if (rtx) {
        s.track[RF_VIDEO].rtx_ssrc = m->ssrc + 2;
        s.track[RF_VIDEO].rtx_pt_of_format[0] = 103;
    }
    CHECK_EQ(rf_peer_view(w->f, m->peer, &s), RF_OK);
    member_keys(w, m);
}

static inline void world_leave(world *w, member *m) {
    CHECK_EQ(rf_peer_close(w->f, m->peer, 1), RF_OK);
    world_turn(w);
    world_poll(w);
}

static inline void inject(world *w, int worker, const rf_path *from, const void *data, size_t len) {
    uint8_t *p = exact(data, len);
    CHECK_EQ(rf_inject(w->f, worker, from, p, len, w->now), RF_OK);
    free(p);
}

/* A publisher's RTP packet as it stands on the wire, at worker 0. */
static inline void send_rtp(world *w, const member *m, uint32_t ssrc, uint8_t pt, int marker,
                            uint16_t seq, uint32_t ts, const void *payload, size_t n) {
    uint8_t d[1600];
    inject(w, 0, &m->path, d, stub_rtp(d, pt, marker, seq, ts, ssrc, payload, n));
}

/* One packet of H264: a whole frame, IDR or not, `size` bytes. */
static inline void send_video(world *w, const member *m, uint16_t seq, uint32_t ts, int key,
                              size_t size) {
    uint8_t payload[1500];
    memset(payload, (int)(seq & 0xff), sizeof payload);
    payload[0] = key ? 0x65 : 0x41;
    send_rtp(w, m, STUB_VIDEO_SSRC, STUB_VIDEO_PT, 1, seq, ts, payload, size);
}

static inline void send_audio(world *w, const member *m, uint16_t seq) {
    uint8_t payload[160];
    memset(payload, 0xd5, sizeof payload);
    send_rtp(w, m, STUB_AUDIO_SSRC, STUB_AUDIO_PT, 0, seq, seq * 160u, payload, sizeof payload);
}

/* RTCP of anybody, protected, at worker 0. data has room for the tag. */
static inline void send_rtcp(world *w, const member *m, uint8_t *data, int len) {
    stub_protect(NULL, data, &len);
    inject(w, 0, &m->path, data, (size_t)len);
}

static inline void send_nack(world *w, const member *m, uint32_t ssrc, uint16_t seq, uint16_t blp) {
    uint8_t d[64] = {0x81, 205, 0, 3, 0, 0, 0, 1};
    for (int i = 0; i < 4; i++)
        d[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
    d[12] = (uint8_t)(seq >> 8);
    d[13] = (uint8_t)seq;
    d[14] = (uint8_t)(blp >> 8);
    d[15] = (uint8_t)blp;
    send_rtcp(w, m, d, 16);
}

static inline uint64_t drops(const world *w, const char *name) {
    rf_worker_stats s;
    uint64_t n = 0;
    int known = 0;
    for (int i = 0; i < w->workers; i++) {
        CHECK_EQ(rf_get_worker_stats(w->f, i, &s), RF_OK);
        for (int d = 0; rf_drop_name(d); d++)
            if (strcmp(rf_drop_name(d), name) == 0) {
                n += s.drops[d];
                known = 1;
            }
    }
    CHECK(known);
    return n;
}

#endif
