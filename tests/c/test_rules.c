/* Rules that every packet of a viewer must keep, whatever the publisher sends: one nonce never has
 * two contents, numbers go on behind a jump, a filled number is padding and nothing else. Each case
 * here was once a fault. */
#include "world.h"

#include "path/path.h"
#include "worker/worker.h"

static struct {
    uint32_t ssrc;
    uint16_t seq;
    size_t len;
    uint8_t data[1600];
} seen[4096];
static int seen_count;
static uint8_t newest[1600];
static size_t newest_len;

/* Every RTP packet: held against all that had the same SSRC and number. */
static void watch(const rf_path *to, const uint8_t *d, size_t len) {
    (void)to;
    if (len < 12 || (d[1] >= 192 && d[1] <= 223))
        return;
    uint32_t ssrc = (uint32_t)d[8] << 24 | (uint32_t)d[9] << 16 | (uint32_t)d[10] << 8 | d[11];
    uint16_t seq = (uint16_t)(d[2] << 8 | d[3]);
    memcpy(newest, d, len);
    newest_len = len;
    for (int i = 0; i < seen_count; i++)
        if (seen[i].ssrc == ssrc && seen[i].seq == seq) {
            CHECK_EQ(seen[i].len, len);
            CHECK(memcmp(seen[i].data, d, len) == 0);
            return;
        }
    CHECK(seen_count < 4096);
    seen[seen_count].ssrc = ssrc;
    seen[seen_count].seq = seq;
    seen[seen_count].len = len;
    memcpy(seen[seen_count++].data, d, len);
}

static void begin(world *w, int workers) {
    rf_config c;
    stub_config(&c, workers, 1);
    world_open(w, &c);
    w->sent = watch;
    seen_count = 0;
    newest_len = 0;
}

/* An unknown payload type that comes late fills its number with padding: its bytes stay out. */
static void late_unknown_type_is_padding(void) {
    world w;
    member p, v;
    uint8_t noise[40];
    memset(noise, 3, sizeof noise);
    begin(&w, 1);
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    send_video(&w, &p, 100, 3000, 1, 200);
    send_video(&w, &p, 102, 6000, 0, 200);
    world_turn(&w);
    send_rtp(&w, &p, STUB_VIDEO_SSRC, 13, 0, 101, 3000, noise, sizeof noise);
    world_turn(&w);
    CHECK_EQ(drops(&w, "unknown_payload_type"), 1);
    CHECK(newest[0] & 0x20);
    CHECK_EQ(newest_len, 12 + 1 + STUB_TAG);
    CHECK_EQ(newest[12], 1);
    world_close(&w);
}

/* A packet of a type that nobody negotiated does not take a silent source's place. */
static void unknown_type_takes_no_source_over(void) {
    world w;
    member p, v;
    uint8_t noise[40] = {0};
    begin(&w, 1);
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    send_audio(&w, &p, 1);
    world_turn(&w);
    rf_stream_stats before, after;
    CHECK_EQ(rf_get_stream_stats(w.f, w.stream, &before), RF_OK);
    CHECK_EQ(before.track[RF_AUDIO].ssrc, STUB_AUDIO_SSRC);
    w.now += SECOND;
    send_rtp(&w, &p, STUB_AUDIO_SSRC, 13, 0, 2, 320, noise, sizeof noise); /* same source: fine */
    world_turn(&w);
    w.now += SECOND;
    /* routed by nothing but an SSRC that was signalled */
    rf_publication setup;
    stub_publication(&setup);
    setup.track[RF_AUDIO].ssrc[0] = 9999;
    setup.track[RF_AUDIO].ssrc_count = 1;
    CHECK_EQ(rf_peer_publish(w.f, p.peer, &setup), RF_OK);
    send_rtp(&w, &p, 9999, 13, 0, 500, 1, noise, sizeof noise);
    world_turn(&w);
    send_audio(&w, &p, 3); /* at once behind it: not "the present source is alive" */
    world_turn(&w);
    CHECK_EQ(rf_get_stream_stats(w.f, w.stream, &after), RF_OK);
    CHECK_EQ(after.track[RF_AUDIO].ssrc, STUB_AUDIO_SSRC);
    CHECK_EQ(after.track[RF_AUDIO].packets, before.track[RF_AUDIO].packets + 1);
    CHECK_EQ(drops(&w, "unknown_ssrc"), 0);
    world_close(&w);
}

/* The two words that name the newest key frame are read one after the other: a reader on another
 * thread may see the new number beside the old index. No number may be given twice for that. */
static void torn_key_gives_no_number_twice(void) {
    world w;
    member p, v;
    uint16_t seq = 100;
    uint32_t ts = 3000;
    begin(&w, 1);
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    send_video(&w, &p, seq++, ts, 1, 200);
    for (int i = 0; i < 20; i++)
        send_video(&w, &p, seq++, ts += 3000, 0, 200);
    world_turn(&w);
    uint64_t sent = w.sent_count;
    CHECK(sent >= 21);
    for (int i = 0; i < 250; i++) { /* the viewer is lapped: all of this comes in one turn */
        send_video(&w, &p, seq++, ts += 3000, i == 240, 200);
        if (i % 60 == 59) { /* the writer's part of a turn alone */
            rf_ctx *x = &w.f->worker[0]->ctx;
            x->blocked = 1;
            x->now_ns = w.now;
            rf_ctx_turn(x);
        }
    }
    rf_ctx *x = &w.f->worker[0]->ctx;
    x->blocked = 1;
    rf_ctx_turn(x);
    rf_track *t = &w.f->streams[0].stream->track[RF_VIDEO];
    uint64_t key = atomic_load(&t->key_seq);
    atomic_store(&t->key_seq, key + 15);
    world_turn(&w);
    CHECK(drops(&w, "viewer_lapped") > 0);
    CHECK(w.sent_count > sent);
    world_close(&w);
}

/* A repaired packet of an older frame does not end a poster before its own frame is whole. */
static void late_packet_leaves_the_poster_whole(void) {
    world w;
    member p, v;
    uint8_t part[300];
    rf_config c;
    stub_config(&c, 1, 1);
    c.start_max_bytes = 1000; /* so that a poster it is */
    world_open(&w, &c);
    w.sent = watch;
    seen_count = 0;
    world_publish(&w, &p);
    memset(part, 1, sizeof part);
    part[0] = 0x7c;
    send_video(&w, &p, 99, 3000, 1, 100);
    send_video(&w, &p, 101, 6000, 0, 100);
    part[1] = 0x85;
    send_rtp(&w, &p, STUB_VIDEO_SSRC, STUB_VIDEO_PT, 0, 102, 9000, part, sizeof part);
    send_video(&w, &p, 100, 4500, 0, 100); /* late */
    part[1] = 0x45;
    send_rtp(&w, &p, STUB_VIDEO_SSRC, STUB_VIDEO_PT, 1, 103, 9000, part, sizeof part);
    for (uint16_t i = 0; i < 10; i++)
        send_video(&w, &p, (uint16_t)(104 + i), 12000u + 3000u * i, 0, 1000);
    world_turn(&w);
    world_view(&w, &v, 0);
    world_turn(&w);
    CHECK_EQ(seen_count, 2);
    CHECK_EQ(seen[0].len, 12 + sizeof part + STUB_TAG);
    CHECK_EQ(seen[1].len, 12 + sizeof part + STUB_TAG);
    CHECK_EQ((uint16_t)(seen[1].seq - seen[0].seq), 1);
    world_close(&w);
}

/* ---- clocks ---- */

static uint32_t sr_ts;
static int sr_seen;

static void watch_reports(const rf_path *to, const uint8_t *d, size_t len) {
    (void)to;
    if (len >= 28 && d[1] == 200) {
        sr_ts = (uint32_t)d[16] << 24 | (uint32_t)d[17] << 16 | (uint32_t)d[18] << 8 | d[19];
        sr_seen++;
    }
}

static void send_sr(world *w, const member *m, uint32_t ssrc, uint64_t ntp, uint32_t ts) {
    uint8_t d[64] = {0x80, 200, 0, 6};
    for (int i = 0; i < 4; i++) {
        d[4 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
        d[16 + i] = (uint8_t)(ts >> (24 - 8 * i));
    }
    for (int i = 0; i < 8; i++)
        d[8 + i] = (uint8_t)(ntp >> (56 - 8 * i));
    send_rtcp(w, m, d, 28);
}

/* A publisher may stamp its reports with its uptime (RFC 3550 section 4): lines stay lines. */
static void uptime_is_a_clock(void) {
    world w;
    member p, v;
    begin(&w, 1);
    w.sent = watch_reports;
    sr_seen = 0;
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    uint64_t start = w.now;
    for (uint16_t i = 0; i < 60; i++) { /* 1.2 s of audio, a report every 500 ms */
        send_audio(&w, &p, i);
        if (i % 25 == 0)
            send_sr(&w, &p, STUB_AUDIO_SSRC, (40ull << 32) + ((uint64_t)i << 32) / 50, i * 160u);
        world_turn(&w);
        w.now += 20 * MS;
    }
    world_pass(&w, SECOND);
    CHECK(sr_seen > 0);
    int64_t behind = (int64_t)((w.now - start) * 8 / 1000000) - (int64_t)sr_ts;
    CHECK(behind > -8 && behind < 1100 * 8); /* the newest report is a second old at most */
    rf_track *t = &w.f->streams[0].stream->track[RF_AUDIO];
    uint32_t line = (uint32_t)atomic_load(&t->clock_line);
    uint32_t ticks = (uint32_t)(start / 1000000 * 8);
    CHECK((int32_t)(line + ticks) < 8 && (int32_t)(line + ticks) > -8);
    world_close(&w);
}

/* Another clock rate is another line: the old one says nothing. */
static void line_ends_with_its_rate(void) {
    world w;
    member p, q;
    begin(&w, 1);
    world_publish(&w, &p);
    send_audio(&w, &p, 1);
    send_sr(&w, &p, STUB_AUDIO_SSRC, 4000000000ull << 32, 160);
    world_turn(&w);
    rf_track *t = &w.f->streams[0].stream->track[RF_AUDIO];
    CHECK(atomic_load(&t->clock_line) != 0);
    world_leave(&w, &p);
    rf_publication setup;
    stub_publication(&setup);
    setup.track[RF_AUDIO].clock_rate = 48000;
    member_open(&w, &q, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w.f, q.peer, &setup), RF_OK);
    member_keys(&w, &q);
    CHECK_EQ(atomic_load(&t->clock_line), 0);
    w.now += SECOND;
    uint32_t before = t->highest_ts;
    send_audio(&w, &q, 1);
    world_turn(&w);
    uint32_t step = t->highest_ts - before;
    CHECK(step >= 48000 && step < 49000);
    world_close(&w);
}

/* ---- turns ---- */

/* A stream whose viewers cost more than a turn does not keep the others waiting. */
static void streams_take_turns(void) {
    enum { EACH = 28, TURNS = 4 };
    world w;
    rf_config c;
    rf_handle stream[2];
    member p[2], v[2][EACH];
    stub_config(&c, 1, 1);
    world_open(&w, &c);
    stream[0] = w.stream;
    CHECK_EQ(rf_stream_open(w.f, &stream[1]), RF_OK);
    for (int s = 0; s < 2; s++) {
        w.stream = stream[s];
        world_publish(&w, &p[s]);
        for (int i = 0; i < EACH; i++)
            world_view(&w, &v[s][i], 0);
    }
    for (uint16_t i = 0; i < 100; i++)
        for (int s = 0; s < 2; s++)
            send_video(&w, &p[s], i, i * 3000u, i == 0, 1200);
    rf_ctx *x = &w.f->worker[0]->ctx;
    x->blocked = 1; /* take them in, send nothing yet */
    rf_ctx_turn(x);
    for (int turn = 0; turn < TURNS; turn++) {
        x->blocked = 0;
        x->now_ns += 10 * MS;
        rf_fanout(x, 0); /* the time is over at once: one slab, and stop */
    }
    world_collect(&w);
    for (int s = 0; s < 2; s++) {
        uint64_t sum = 0;
        for (int i = 0; i < EACH; i++) {
            rf_peer_stats ps;
            CHECK_EQ(rf_get_peer_stats(w.f, v[s][i].peer, &ps), RF_OK);
            sum += ps.track[RF_VIDEO].packets;
        }
        CHECK(sum > 0);
    }
    w.now = x->now_ns;
    world_close(&w);
}

/* ---- ends ---- */

/* Every end is told, however long nobody listens. */
static void no_end_is_lost(void) {
    enum { STREAMS = 16 };
    world w;
    rf_config c;
    rf_handle streams[STREAMS - 1], peer;
    stub_config(&c, 2, 1);
    c.max_peers = 1;
    c.max_streams = STREAMS;
    world_open(&w, &c);
    for (int i = 0; i < STREAMS - 1; i++)
        CHECK_EQ(rf_stream_open(w.f, &streams[i]), RF_OK);
    CHECK_EQ(rf_peer_open(w.f, w.stream, RF_VIEWER, &peer), RF_OK);
    CHECK_EQ(rf_stream_close(w.f, w.stream), RF_ESTATE);
    CHECK_EQ(rf_peer_close(w.f, peer, 0), RF_OK);
    CHECK_EQ(rf_stream_close(w.f, w.stream), RF_OK);
    for (int i = 0; i < STREAMS - 1; i++)
        CHECK_EQ(rf_stream_close(w.f, streams[i]), RF_OK);
    world_turn(&w);
    world_poll(&w);
    CHECK_EQ(w.events[RF_EVENT_PEER_GONE], 1);
    CHECK_EQ(w.events[RF_EVENT_STREAM_GONE], STREAMS);
    CHECK_EQ(rf_stream_open(w.f, &w.stream), RF_OK);
    world_close(&w);
}

static void keys_are_given_once(void) {
    world w;
    member v;
    begin(&w, 1);
    world_view(&w, &v, 0);
    CHECK_EQ(rf_peer_keys(w.f, v.peer, 7, &world_key, &world_key, NULL), RF_ESTATE);
    world_close(&w);
}

int main(void) {
    late_unknown_type_is_padding();
    unknown_type_takes_no_source_over();
    torn_key_gives_no_number_twice();
    late_packet_leaves_the_poster_whole();
    uptime_is_a_clock();
    line_ends_with_its_rate();
    streams_take_turns();
    no_end_is_lost();
    keys_are_given_once();
    return done("rules");
}
