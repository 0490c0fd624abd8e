/* Viewers over TCP, in virtual time: the ring of frames by itself; what a slow connection gets
 * (whole frames, the next key frame, a bounded ring), what it costs the others (nothing), and that
 * paths which do not carry media give way first. The socket's side is in test_threads_tcp.c. */
#include "net/tcp.h"
#include "path/path.h"
#include "worker/worker.h"
#include "world.h"

enum { PARTS = 6, PART = 1000, FRAME_MS = 33 };

/* ---- the ring ---- */

static void ring_wraps_and_refuses(void) {
    static uint8_t bytes[64];
    rf_ring r;
    uint8_t data[40];
    rf_ring_init(&r, bytes, sizeof bytes);
    for (int round = 0; round < 200; round++) {
        size_t len = (size_t)(round * 7 % 30 + 1), at = 0;
        uint8_t out[64];
        memset(data, round, sizeof data);
        CHECK_EQ(rf_ring_put(&r, data, len), RF_OK);
        CHECK_EQ(rf_ring_used(&r), len + 2);
        CHECK_EQ(rf_ring_frame(&r), len + 2);
        while (rf_ring_used(&r)) { /* in bites of 5, as a full socket takes them */
            struct iovec piece[2];
            int n = rf_ring_pieces(&r, 5, piece);
            CHECK(n == 1 || n == 2);
            for (int i = 0; i < n; i++) {
                memcpy(out + at, piece[i].iov_base, piece[i].iov_len);
                at += piece[i].iov_len;
                rf_ring_take(&r, piece[i].iov_len);
            }
        }
        CHECK_EQ(at, len + 2);
        CHECK_EQ(out[0] << 8 | out[1], len);
        CHECK(memcmp(out + 2, data, len) == 0);
    }
    CHECK_EQ(rf_ring_put(&r, data, 40), RF_OK);
    CHECK_EQ(rf_ring_put(&r, data, 21), RF_EFULL);
    CHECK_EQ(rf_ring_used(&r), 42);
    CHECK_EQ(rf_ring_put(&r, data, 20), RF_OK);
}

/* ---- a viewer whose connection the test empties ---- */

typedef struct scene {
    world w;
    member publisher, viewer;
    rf_leg leg;
    rf_tcp *tcp;
    uint16_t seq, audio_seq;
    uint32_t frame; /* of the publisher */
    uint32_t keys_asked;
    /* what came out of the ring */
    uint32_t last_frame, whole, gaps, audio;
    int part;
    size_t most;
} scene;

static scene *now_playing;

static void watch_publisher(const rf_path *to, const uint8_t *data, size_t len) {
    scene *s = now_playing;
    if (to->remote_port == s->publisher.path.remote_port && len > 12)
        for (size_t at = 0; at + 4 < len - STUB_TAG;) {
            s->keys_asked += data[at] == 0x81 && data[at + 1] == 206;
            at += 4 + 4u * ((size_t)data[at + 2] << 8 | data[at + 3]);
        }
}

static int deliver(void *arg, int worker, const rf_path *path, const uint8_t *data, size_t len) {
    (void)arg, (void)worker, (void)path, (void)data, (void)len;
    return RF_OK;
}

static void open_scene(scene *s) {
    rf_config c;
    stub_config(&c, 1, 1);
    c.video_slots = 4096;
    c.audio_slots = 1024;
    memset(s, 0, sizeof *s);
    now_playing = s;
    world_open(&s->w, &c);
    s->w.sent = watch_publisher;
    world_publish(&s->w, &s->publisher);
    world_view(&s->w, &s->viewer, 0);
    rf_tcp_setup setup = {.connections = 1, .workers = 1, .deliver = deliver};
    uint16_t port;
    memcpy(setup.bind_ip, c.bind_ip, 16);
    CHECK_EQ(rf_tcp_open(&setup, &s->tcp, &port), RF_OK); /* its thread does not run */
    CHECK(port != 0);
    rf_ring_init(&s->leg.media, malloc(RF_LEG_MEDIA), RF_LEG_MEDIA);
    s->leg.dirty = 1; /* nobody is to be told */
    s->w.f->shared.tcp = s->tcp;
    rf_control_peer(s->w.f, s->viewer.peer)->leg = &s->leg;
    s->w.f->worker[0]->ctx.legs = 1;
}

static void close_scene(scene *s) {
    world_leave(&s->w, &s->viewer);
    CHECK_EQ(s->leg.released, 1);
    CHECK_EQ(s->w.f->worker[0]->ctx.legs, 0);
    world_leave(&s->w, &s->publisher);
    world_close(&s->w); /* frees s->tcp */
    free(s->leg.media.bytes);
}

static void send_frame(scene *s, int key) {
    uint8_t payload[PART];
    memset(payload, 0x55, sizeof payload);
    for (int i = 0; i < PARTS; i++) {
        payload[0] = key ? 0x65 : 0x41;
        payload[1] = (uint8_t)i;
        memcpy(payload + 2, &s->frame, 4);
        send_rtp(&s->w, &s->publisher, STUB_VIDEO_SSRC, STUB_VIDEO_PT, i == PARTS - 1, s->seq++,
                 s->frame * 3000u, payload, sizeof payload);
    }
    s->frame++;
    send_audio(&s->w, &s->publisher, s->audio_seq++);
}

/* One packet that left: parts come in order, and after a gap only a key frame. */
static void judge(scene *s, const uint8_t *rtp) {
    uint32_t frame;
    if (rtp[1] >> 6 == 3 && (rtp[1] & 0x7f) >= 64 && (rtp[1] & 0x7f) < 96)
        return; /* RTCP */
    if ((rtp[1] & 0x7f) == STUB_AUDIO_PT) {
        s->audio++;
        return;
    }
    const uint8_t *payload = rtp + 12 + (rtp[0] & 0x10 ? 4 + 4 * (rtp[14] << 8 | rtp[15]) : 0);
    memcpy(&frame, payload + 2, 4);
    CHECK_EQ(payload[1], s->part); /* never half a frame */
    if (s->part == 0 && s->whole && frame != s->last_frame + 1) {
        CHECK_EQ(payload[0], 0x65);
        s->gaps++;
    }
    if (s->part)
        CHECK_EQ(frame, s->last_frame);
    s->last_frame = frame;
    s->part = (s->part + 1) % PARTS;
    s->whole += s->part == 0;
}

static void empty(scene *s, size_t bytes) {
    rf_ring *r = &s->leg.media;
    while (rf_ring_used(r) && bytes >= rf_ring_frame(r)) {
        uint8_t packet[2048];
        size_t n = rf_ring_frame(r), at = 0;
        struct iovec piece[2];
        int pieces = rf_ring_pieces(r, n, piece);
        for (int i = 0; i < pieces; at += piece[i++].iov_len)
            memcpy(packet + at, piece[i].iov_base, piece[i].iov_len);
        rf_ring_take(r, n);
        bytes -= n;
        judge(s, packet + 2);
    }
}

/* The publisher sends for so long, with a key frame every `keys` frames; the connection takes
 * `rate` bytes a frame's time. */
static void play(scene *s, int ms, uint32_t keys, size_t rate) {
    for (int t = 0; t < ms; t += FRAME_MS) {
        send_frame(s, s->frame % keys == 0);
        world_turn(&s->w);
        world_pass(&s->w, FRAME_MS * MS);
        if (rf_ring_used(&s->leg.media) > s->most)
            s->most = rf_ring_used(&s->leg.media);
        empty(s, rate);
    }
}

static uint64_t late(scene *s) {
    rf_worker_stats stats;
    CHECK_EQ(rf_get_worker_stats(s->w.f, 0, &stats), RF_OK);
    return stats.drops[RF_DROP_leg_late];
}

static void a_quick_connection_gets_everything(void) {
    static scene s;
    open_scene(&s);
    play(&s, 3000, 60, SIZE_MAX);
    CHECK(s.frame > 80);
    CHECK_EQ(s.whole, s.frame);
    CHECK_EQ(s.audio, s.frame);
    CHECK_EQ(s.gaps, 0);
    CHECK_EQ(late(&s), 0);
    close_scene(&s);
}

static void a_stall_ends_at_a_key_frame(void) {
    static scene s;
    rf_peer_stats stats;
    open_scene(&s);
    play(&s, 500, 60, SIZE_MAX);
    uint32_t before = s.whole;
    play(&s, 5000, 60, 0);
    CHECK_EQ(s.whole, before);
    CHECK(s.most <= RF_LEG_MEDIA);
    CHECK(s.most < RF_LEG_MEDIA / 4 + PARTS * (PART + 50) + 40 * 200); /* … a frame, some audio */
    play(&s, 1000, 60, SIZE_MAX);
    CHECK_EQ(s.gaps, 1);
    CHECK_EQ(s.last_frame, s.frame - 1); /* as new as can be */
    CHECK(late(&s) >= 1);
    CHECK_EQ(rf_get_peer_stats(s.w.f, s.viewer.peer, &stats), RF_OK);
    CHECK(stats.track[RF_VIDEO].skipped >= 50 * PARTS);
    CHECK(stats.track[RF_AUDIO].skipped >= 50);
    close_scene(&s);
}

/* Half the stream's rate, for long: pictures in pieces, each piece whole and hardly late. */
static void a_narrow_connection_gets_pieces(void) {
    static scene s;
    open_scene(&s);
    play(&s, 500, 30, SIZE_MAX);
    uint32_t asked = s.keys_asked;
    play(&s, 30000, 30, PARTS * PART / 2);
    CHECK(s.gaps >= 3);
    CHECK(s.whole >= s.frame / 4);
    CHECK(s.frame - s.last_frame < 160); /* a ring at half the rate, a second, a key frame */
    CHECK(s.most <= RF_LEG_MEDIA);
    CHECK_EQ(s.keys_asked, asked);
    close_scene(&s);
}

/* Within 4 s of the skip nobody is asked. */
static void key_frames_are_asked_for_late(void) {
    static scene s;
    open_scene(&s);
    play(&s, 500, 1000000, SIZE_MAX);
    uint32_t asked = s.keys_asked;
    play(&s, 3000, 1000000, 0);
    play(&s, 2000, 1000000, SIZE_MAX);
    CHECK(late(&s) >= 1);
    CHECK_EQ(s.keys_asked, asked); /* the others' picture is left alone */
    play(&s, 3000, 1000000, SIZE_MAX);
    CHECK(s.keys_asked > asked); /* but not for ever */
    send_frame(&s, 1);
    play(&s, 500, 1000000, SIZE_MAX);
    CHECK_EQ(s.last_frame, s.frame - 1);
    CHECK_EQ(s.gaps, 1);
    close_scene(&s);
}

/* What was full when the publisher stopped still leaves. */
static void the_rest_follows(void) {
    static scene s;
    open_scene(&s);
    play(&s, 300, 60, SIZE_MAX);
    play(&s, 800, 60, 0);
    for (int i = 0; i < 20; i++) {
        world_pass(&s.w, 10 * MS);
        empty(&s, SIZE_MAX);
    }
    CHECK_EQ(s.whole, s.frame);
    CHECK_EQ(late(&s), 0);
    close_scene(&s);
}

/* Resends and reports that find no room are given up; the viewer asks again. */
static void a_full_ring_takes_no_resend(void) {
    static scene s;
    static uint8_t filler[60000];
    uint8_t nack[64] = {0x81, 205, 0, 3, 0, 0, 0, 1};
    rf_worker_stats stats;
    open_scene(&s);
    play(&s, 500, 60, SIZE_MAX);
    while (rf_ring_put(&s.leg.media, filler, sizeof filler) == RF_OK) {
    }
    while (rf_ring_put(&s.leg.media, filler, 900) == RF_OK) {
    }
    uint16_t last = (uint16_t)(rf_control_peer(s.w.f, s.viewer.peer)->view->track[1].next_out - 1);
    for (int i = 0; i < 4; i++)
        nack[8 + i] = (uint8_t)((s.viewer.ssrc + 1) >> (24 - 8 * i));
    nack[12] = (uint8_t)(last >> 8);
    nack[13] = (uint8_t)last;
    send_rtcp(&s.w, &s.viewer, nack, 16);
    world_turn(&s.w);
    CHECK_EQ(rf_get_worker_stats(s.w.f, 0, &stats), RF_OK);
    CHECK_EQ(stats.drops[RF_DROP_leg_full], 1);
    close_scene(&s);
}

/* The peer closed the connection: what is sent goes nowhere, and nobody waits for it. */
static void a_closed_connection_holds_nobody(void) {
    static scene s;
    rf_peer_stats stats;
    open_scene(&s);
    play(&s, 300, 60, SIZE_MAX);
    s.leg.closed = 1;
    play(&s, 3000, 60, SIZE_MAX);
    CHECK_EQ(rf_get_peer_stats(s.w.f, s.viewer.peer, &stats), RF_OK);
    CHECK_EQ(stats.track[RF_VIDEO].lag, 0);
    CHECK_EQ(late(&s), 0);
    close_scene(&s);
}

/* ---- paths ---- */

static int reaches(world *w, const rf_path *path) {
    return rf_paths_find(&w->f->worker[0]->ctx.paths, path) != NULL;
}

static void the_oldest_unselected_path_gives_way(void) {
    rf_config c;
    world w;
    member m;
    rf_path p, never;
    stub_config(&c, 1, 1);
    world_open(&w, &c);
    world_publish(&w, &m); /* its first path is selected by itself */
    stub_path(&never, 9);
    CHECK_EQ(rf_peer_select(w.f, m.peer, &never), RF_ESTATE);
    for (uint16_t port = 5001; port <= 5000 + 2 * RF_MAX_PATHS; port++) {
        stub_path(&p, port);
        CHECK_EQ(rf_peer_path(w.f, m.peer, &p), RF_OK);
        world_turn(&w);
        CHECK(reaches(&w, &p));
        CHECK(reaches(&w, &m.path));
    }
    stub_path(&p, 5000 + 2 * RF_MAX_PATHS);
    CHECK_EQ(rf_peer_select(w.f, m.peer, &p), RF_OK);
    rf_path more;
    for (uint16_t port = 6001; port <= 6000 + 2 * RF_MAX_PATHS; port++) {
        stub_path(&more, port);
        CHECK_EQ(rf_peer_path(w.f, m.peer, &more), RF_OK);
        world_turn(&w);
        CHECK(reaches(&w, &p));
    }
    CHECK(!reaches(&w, &m.path));
    CHECK_EQ(w.f->worker[0]->ctx.paths.used, RF_MAX_PATHS);
    world_close(&w);
}

/* Every peer at its bound: the table has a place for each. */
static void the_table_holds_every_path(void) {
    rf_config c;
    world w;
    member m;
    stub_config(&c, 1, 1);
    world_open(&w, &c);
    uint16_t port = 10000;
    for (uint32_t i = 0; i < c.max_peers; i++) {
        member_open(&w, &m, RF_PUBLISHER);
        for (int k = 1; k < RF_MAX_PATHS; k++) {
            rf_path p;
            stub_path(&p, port++);
            CHECK_EQ(rf_peer_path(w.f, m.peer, &p), RF_OK);
            world_turn(&w);
            CHECK(reaches(&w, &p));
        }
    }
    CHECK_EQ(w.f->worker[0]->ctx.paths.used, c.max_peers * RF_MAX_PATHS);
    world_close(&w);
}

/* The same address and port by UDP and by two connections are three tuples. */
static void a_connection_is_part_of_the_tuple(void) {
    rf_path_table t;
    rf_path p;
    CHECK_EQ(rf_paths_init(&t, 16, 3), RF_OK);
    stub_path(&p, 4000);
    for (uint32_t i = 0; i < 3; i++) {
        p.connection = i;
        CHECK_EQ(rf_paths_put(&t, &p, 100 + i, 0), RF_OK);
    }
    for (uint32_t i = 0; i < 3; i++) {
        p.connection = i;
        CHECK_EQ(rf_paths_find(&t, &p)->peer, 100 + i);
    }
    rf_paths_free(&t);
}

int main(void) {
    ring_wraps_and_refuses();
    a_quick_connection_gets_everything();
    a_stall_ends_at_a_key_frame();
    a_narrow_connection_gets_pieces();
    key_frames_are_asked_for_late();
    the_rest_follows();
    a_full_ring_takes_no_resend();
    a_closed_connection_holds_nobody();
    the_oldest_unselected_path_gives_way();
    the_table_holds_every_path();
    a_connection_is_part_of_the_tuple();
    return done("legs");
}
