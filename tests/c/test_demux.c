/* The doors: every reason to discard that a datagram can bring about, provoked and found under its
 * name; and whatever is not authenticated changes nothing but counters. */
#include "path/path.h"
#include "worker/worker.h"
#include "world.h"

/* What only a kernel says (ENOBUFS, EMSGSIZE, EHOSTUNREACH) has no twin in memory. */
static const char *const of_the_kernel[] = {"send_nobufs", "send_too_big", "send_unreachable"};
static uint8_t provoked[RF_DROP_COUNT];

/* Counted n times since the last look, under this name alone. */
static uint64_t base[RF_DROP_COUNT];

static void look_from(const world *w) {
    for (int d = 0; d < RF_DROP_COUNT; d++)
        base[d] = drops(w, rf_drop_name(d));
}

static void expect(const world *w, const char *name, uint64_t n) {
    for (int d = 0; d < RF_DROP_COUNT; d++) {
        uint64_t got = drops(w, rf_drop_name(d)) - base[d];
        int meant = strcmp(rf_drop_name(d), name) == 0;
        if (got != (meant ? n : 0)) {
            fprintf(stderr, "%s: %llu of %s\n", name, (unsigned long long)got, rf_drop_name(d));
            exit(1);
        }
        provoked[d] |= (uint8_t)(meant && n);
        checks_made++;
    }
    look_from(w);
}

static void begin(world *w, int workers) {
    rf_config c;
    stub_config(&c, workers, 1);
    world_open(w, &c);
    look_from(w);
}

static size_t stun(uint8_t *out, const char *username) {
    static const uint8_t head[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42};
    size_t n = strlen(username), padded = (n + 3) / 4 * 4;
    memset(out, 0, 24 + padded);
    memcpy(out, head, sizeof head);
    out[3] = (uint8_t)(4 + padded);
    out[21] = 6;
    out[23] = (uint8_t)n;
    memcpy(out + 24, username, n);
    return 24 + padded;
}

static rf_path stranger(uint16_t port) {
    rf_path p;
    stub_path(&p, port);
    p.remote_ip[12] = 9;
    return p;
}

static rf_peer *inside(const world *w, const member *m) {
    return w->f->peers[(uint32_t)m->peer - 1].peer;
}

/* ---- strangers ---- */

static void strangers(void) {
    world w;
    member p;
    uint8_t d[2048] = {0};
    rf_path from = stranger(1);
    begin(&w, 1);
    world_publish(&w, &p);
    d[0] = 70;
    inject(&w, 0, &from, d, 100);
    inject(&w, 0, &p.path, d, 100);
    world_turn(&w);
    expect(&w, "unclassified", 2);
    inject(&w, 0, &from, d, 0);
    for (int first = 0; first < 256; first += 20) { /* one byte of each protocol */
        d[0] = (uint8_t)first;
        if (first <= 3 || (first >= 20 && first <= 63) || (first >= 128 && first <= 191))
            inject(&w, 0, &from, d, 1);
    }
    world_turn(&w);
    expect(&w, "too_short", 1 + 1 + 3 + 3);
    memset(d, 0, sizeof d);
    rf_datagram long_one = {p.path, d, RF_MAX_DATAGRAM + 1}; /* as the kernel marks a cut one */
    rf_demux(&w.f->worker[0]->ctx, &long_one);
    expect(&w, "too_long", 1);
    CHECK_EQ(rf_inject(w.f, 0, &from, d, sizeof d, w.now), RF_EINVAL);
    size_t n = stun(d, "nobody:here");
    inject(&w, 0, &from, d, n);
    inject(&w, 0, &p.path, d, n);
    stun(d, "");
    inject(&w, 0, &p.path, d, 20); /* its length says 24 */
    d[3] = 0;
    inject(&w, 0, &p.path, d, 20); /* no USERNAME */
    world_turn(&w);
    CHECK_EQ(drops(&w, "stun_malformed"), 1);
    provoked[RF_DROP_stun_malformed] = 1;
    base[RF_DROP_stun_malformed]++;
    expect(&w, "stun_unknown_ufrag", 3);
    memset(d, 22, 13);
    inject(&w, 0, &from, d, 13);
    world_turn(&w);
    expect(&w, "dtls_unknown_tuple", 1);
    d[0] = 0x80;
    inject(&w, 0, &from, d, 12);
    d[1] = 200;
    inject(&w, 0, &from, d, 12);
    world_turn(&w);
    expect(&w, "unknown_tuple", 2);
    world_poll(&w);
    CHECK_EQ(w.events[RF_EVENT_STUN] + w.events[RF_EVENT_DTLS], 0);
    world_close(&w);
}

/* ---- the way up ---- */

static void punts_are_bounded(void) {
    world w;
    member p;
    uint8_t d[64];
    rf_path from = stranger(1);
    begin(&w, 1);
    member_open(&w, &p, RF_PUBLISHER);
    size_t n = stun(d, "2000:them");
    for (int i = 0; i < 100; i++)
        inject(&w, 0, &from, d, n);
    world_turn(&w);
    expect(&w, "punt_full", 100 - 64);
    for (int i = 0; i < 300; i++)
        inject(&w, 0, &p.path, d, n); /* a crowd of strangers does not shut the known out */
    world_turn(&w);
    expect(&w, "punt_full", 300 - 64);
    for (int i = 0; i < 150; i++)
        inject(&w, 0, &p.path, d, n);
    world_turn(&w);
    base[RF_DROP_punt_full] += 100; /* 400 at once, then 200 a second */
    expect(&w, "punt_rate", 50);
    world_poll(&w);
    CHECK_EQ(w.events[RF_EVENT_STUN], 128);
    w.now += 10 * MS;
    for (int i = 0; i < 3; i++)
        inject(&w, 0, &p.path, d, n);
    world_turn(&w);
    expect(&w, "punt_rate", 1);
    uint8_t dtls[13] = {22};
    w.now += SECOND;
    inject(&w, 0, &p.path, dtls, sizeof dtls);
    world_turn(&w);
    world_poll(&w);
    CHECK_EQ(w.events[RF_EVENT_STUN], 130);
    CHECK_EQ(w.events[RF_EVENT_DTLS], 1);
    world_close(&w);
}

/* ---- keys ---- */

static void early_media_waits_for_keys(void) {
    world w;
    member p, v;
    rf_stream_stats s;
    rf_publication setup;
    begin(&w, 1);
    stub_publication(&setup);
    member_open(&w, &p, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w.f, p.peer, &setup), RF_OK);
    for (uint16_t i = 0; i < 10; i++)
        send_audio(&w, &p, i);
    world_turn(&w);
    CHECK_EQ(rf_get_stream_stats(w.f, w.stream, &s), RF_OK);
    CHECK_EQ(s.track[RF_AUDIO].packets, 0);
    member_keys(&w, &p);
    CHECK_EQ(rf_get_stream_stats(w.f, w.stream, &s), RF_OK);
    CHECK_EQ(s.track[RF_AUDIO].packets, 10);
    CHECK_EQ(s.track[RF_AUDIO].lost, 0);
    world_leave(&w, &p);
    expect(&w, "no_keys", 0);
    member_open(&w, &p, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w.f, p.peer, &setup), RF_OK);
    for (uint16_t i = 0; i < RF_EARLY + 5; i++)
        send_audio(&w, &p, i);
    world_turn(&w);
    expect(&w, "no_keys", 5);
    member_open(&w, &v, RF_VIEWER); /* a viewer has nothing that cannot wait */
    uint8_t d[64] = {0x80, 201, 0, 1};
    send_rtcp(&w, &v, d, 8);
    world_turn(&w);
    expect(&w, "no_keys", 1);
    world_leave(&w, &p); /* … and what waits goes with its peer */
    member_open(&w, &p, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w.f, p.peer, &setup), RF_OK);
    for (uint16_t i = 0; i < RF_EARLY; i++)
        send_audio(&w, &p, i);
    world_turn(&w);
    expect(&w, "no_keys", 0);
    member_keys(&w, &p);
    CHECK_EQ(rf_get_stream_stats(w.f, w.stream, &s), RF_OK);
    CHECK_EQ(s.track[RF_AUDIO].packets, 10 + RF_EARLY);
    world_close(&w);
}

static int replay_next, refuse_next;

static int picky_unprotect(void *ctx, void *hdr, int *len) {
    if (replay_next) {
        replay_next--;
        return 9 + (replay_next & 1); /* libsrtp's replay_fail and replay_old */
    }
    return stub_unprotect(ctx, hdr, len);
}

static int picky_protect(void *ctx, void *hdr, int *len) {
    if (refuse_next) {
        refuse_next--;
        return 7;
    }
    return stub_protect(ctx, hdr, len);
}

static void authentication(void) {
    world w;
    member p, v;
    rf_config c;
    stub_config(&c, 1, 1);
    c.srtp.unprotect = picky_unprotect;
    c.srtp.protect = c.srtp.protect_rtcp = picky_protect;
    world_open(&w, &c);
    look_from(&w);
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    uint8_t d[200] = {0x80, STUB_AUDIO_PT, 0, 1};
    inject(&w, 0, &p.path, d, 100);
    d[1] = 200;
    inject(&w, 0, &p.path, d, 100);
    inject(&w, 0, &v.path, d, 100);
    world_turn(&w);
    expect(&w, "auth_failed", 3);
    replay_next = 2;
    send_audio(&w, &p, 1);
    send_audio(&w, &p, 2);
    world_turn(&w);
    expect(&w, "replayed", 2);
    send_rtp(&w, &v, v.ssrc, 8, 0, 1, 1, d, 20);
    world_turn(&w);
    expect(&w, "rtp_from_viewer", 1);
    send_audio(&w, &p, 3);
    refuse_next = 1;
    world_turn(&w); /* in time order: fan-out, then nothing else */
    expect(&w, "protect_failed", 1);
    send_audio(&w, &p, 4);
    w.sent_count = 0;
    world_turn(&w);
    expect(&w, "protect_failed", 0);
    CHECK(w.sent_count >= 1);
    rf_peer *viewer = inside(&w, &v);
    viewer->has_path = 0;
    rf_egress_rtcp(&w.f->worker[0]->ctx, viewer, d, 8);
    viewer->has_path = 1;
    expect(&w, "no_path", 1);
    world_close(&w);
}

/* ---- what a publisher may get wrong ---- */

static void publishers(void) {
    world w;
    member p;
    rf_publication setup;
    uint8_t d[400] = {0};
    begin(&w, 1);
    stub_publication(&setup);
    setup.track[RF_VIDEO].format[0].rtx_pt = 97;
    setup.track[RF_VIDEO].rtx_ssrc[0] = 1112;
    member_open(&w, &p, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w.f, p.peer, &setup), RF_OK);
    member_keys(&w, &p);
    send_rtp(&w, &p, 1112, 97, 0, 1, 1, d, 4); /* RTX of nothing yet */
    send_rtp(&w, &p, 31337, 55, 0, 1, 1, d, 4);
    world_turn(&w);
    expect(&w, "unknown_ssrc", 2);
    send_video(&w, &p, 1000, 3000, 1, 100);
    for (uint16_t seq = 1002; seq < 1200; seq++)
        send_video(&w, &p, seq, 3000u * (seq - 999u), 0, 100);
    send_rtp(&w, &p, 31337, STUB_VIDEO_PT, 0, 1, 1, d, 4); /* the source is alive */
    world_turn(&w);
    expect(&w, "unknown_ssrc", 1);
    send_video(&w, &p, 1001, 6000, 0, 100);               /* half a log late */
    send_rtp(&w, &p, 1112, 97, 0, 2, 1, "\x7f\xff..", 4); /* RTX from far away */
    world_turn(&w);
    expect(&w, "too_old", 2);
    send_video(&w, &p, 1150, 3000u * 151, 0, 100);
    world_turn(&w);
    expect(&w, "duplicate", 1);
    send_video(&w, &p, 9000, 3000, 0, 100); /* alone: held back */
    world_turn(&w);
    expect(&w, "probation", 1);
    send_video(&w, &p, 1200, 3000u * 201, 0, 100);
    send_rtp(&w, &p, STUB_VIDEO_SSRC, 13, 0, 1201, 1, d, 40);
    world_turn(&w);
    expect(&w, "unknown_payload_type", 1);
    send_rtp(&w, &p, 1112, 97, 0, 3, 1, d, 1);
    world_turn(&w);
    expect(&w, "rtx_malformed", 1);
    uint8_t padding[64] = {0xa0, STUB_VIDEO_PT, 1202 >> 8, 1202 & 0xff, 0, 0, 0, 1, 0, 0, 4, 87};
    padding[19] = 8;
    int len = 20;
    stub_protect(NULL, padding, &len);
    inject(&w, 0, &p.path, padding, (size_t)len);
    world_turn(&w);
    expect(&w, "padding_only", 1);
    uint8_t bad[64] = {0x90, STUB_VIDEO_PT, 0, 0, 0, 0, 0, 1, 0, 0, 4, 87, 0xbe, 0xde, 0, 9};
    len = 20;
    stub_protect(NULL, bad, &len);
    inject(&w, 0, &p.path, bad, (size_t)len);
    world_turn(&w);
    expect(&w, "rtp_malformed", 1);
    uint8_t rtcp[64] = {0x80, 200, 0, 9};
    send_rtcp(&w, &p, rtcp, 12);
    world_turn(&w);
    expect(&w, "rtcp_malformed", 1);
    world_close(&w);
}

/* ---- what a viewer may ask ---- */

static uint16_t last_video;

static void watch_video(const rf_path *to, const uint8_t *d, size_t len) {
    (void)to;
    if (len > 12 && d[1] == (0x80 | 102))
        last_video = (uint16_t)(d[2] << 8 | d[3]);
}

static void viewers(void) {
    world w;
    member p, v;
    begin(&w, 1);
    w.sent = watch_video;
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    send_nack(&w, &v, v.ssrc + 1, 7, 0); /* nothing was sent yet */
    world_turn(&w);
    expect(&w, "nack_unknown", 1);
    for (uint16_t seq = 0; seq < 200; seq++) {
        send_video(&w, &p, seq, 3000u * seq, seq == 0, 1200);
        world_turn(&w);
        w.now += 10 * MS;
    }
    world_pass(&w, 200 * MS);
    look_from(&w);
    uint16_t newest = last_video;
    send_nack(&w, &v, v.ssrc + 1, (uint16_t)(newest + 1), 3);
    world_turn(&w);
    expect(&w, "nack_unknown", 3);
    uint64_t before = w.sent_count;
    for (int i = 0; i < 3; i++)
        send_nack(&w, &v, v.ssrc + 1, newest, 0);
    world_turn(&w);
    expect(&w, "nack_gated", 2);
    CHECK_EQ(w.sent_count, before + 1);
    CHECK_EQ(last_video, newest);
    for (int i = 0; i < 5; i++) { /* three tries in all */
        w.now += 50 * MS;
        send_nack(&w, &v, v.ssrc + 1, newest, 0);
        world_turn(&w);
    }
    expect(&w, "nack_gated", 3);
    send_nack(&w, &v, 4711, newest, 0); /* not one of his: not even counted */
    world_turn(&w);
    expect(&w, "nack_unknown", 0);
    rf_peer_stats stats;
    for (int round = 0; round < 3; round++) {
        for (uint16_t back = 17; back <= 17 * 6; back = (uint16_t)(back + 17))
            send_nack(&w, &v, v.ssrc + 1, (uint16_t)(newest - back), 0xffff);
        w.now += 50 * MS;
        world_turn(&w);
    }
    CHECK_EQ(rf_get_peer_stats(w.f, v.peer, &stats), RF_OK);
    uint64_t resent = stats.track[RF_VIDEO].resent - 3; /* of the newest */
    CHECK(resent >= 17 * 6 && resent < 17 * 6 * 3);
    expect(&w, "nack_budget", 17 * 6 * 3 - resent);
    uint8_t rtcp[64] = {0x81, 205, 0, 9};
    send_rtcp(&w, &v, rtcp, 16);
    world_turn(&w);
    expect(&w, "rtcp_malformed", 1);
    world_close(&w);
}

/* ---- between workers, and at the edges of the log and the socket ---- */

static void workers(void) {
    world w;
    member p, v[2];
    begin(&w, 2);
    world_publish(&w, &p);
    int owner = inside(&w, &p)->owner;
    world_view(&w, &v[0], 0);
    world_view(&w, &v[1], 0);
    uint8_t d[64];
    size_t n = stub_rtp(d, STUB_AUDIO_PT, 0, 1, 1, STUB_AUDIO_SSRC, (const uint8_t *)"abcd", 4);
    for (int i = 0; i < 600; i++)
        inject(&w, 1 - owner, &p.path, d, n);
    for (int i = 0; i < 3; i++)
        rf_turn(w.f, 1 - owner, w.now);
    expect(&w, "mailbox_full", 600 - 512);
    world_turn(&w);
    expect(&w, "duplicate", 511);
    member late;
    world_publish(&w, &late);
    CHECK_EQ(inside(&w, &late)->owner, owner);
    inject(&w, 1 - owner, &late.path, d, n);
    rf_turn(w.f, 1 - owner, w.now);
    CHECK_EQ(rf_peer_close(w.f, late.peer, 0), RF_OK); /* while its datagram is on the way */
    world_turn(&w);
    expect(&w, "stale_handle", 1);
    world_close(&w);
}

static void a_pinned_log_refuses(void) {
    world w;
    member p;
    uint64_t head;
    begin(&w, 2);
    world_publish(&w, &p);
    int owner = inside(&w, &p)->owner;
    rf_track *t = &inside(&w, &p)->stream->track[RF_AUDIO];
    for (uint16_t i = 0; i < 64; i++) {
        send_audio(&w, &p, i);
        world_turn(&w);
    }
    uint64_t low = rf_track_pin(t, 1 - owner, &head);
    CHECK_EQ(low, 8);
    for (uint16_t i = 64; i < 80; i++) {
        send_audio(&w, &p, i);
        world_turn(&w);
    }
    expect(&w, "log_pinned", 80 - 64 - 8); /* an eighth is margin */
    rf_track_unpin(t, 1 - owner);
    send_audio(&w, &p, 80);
    world_turn(&w);
    expect(&w, "log_pinned", 0);
    CHECK_EQ(atomic_load(&t->head), 64 + 8 + 1);
    world_close(&w);
}

static void formats(void) {
    world w;
    member p, v;
    rf_publication setup;
    begin(&w, 1);
    stub_publication(&setup);
    setup.track[RF_AUDIO].format_count = 2;
    setup.track[RF_AUDIO].format[1].pt = 0;
    setup.track[RF_AUDIO].format[1].codec = 7;
    setup.track[RF_AUDIO].format[1].format = 1;
    setup.track[RF_AUDIO].format[1].rtx_pt = RF_NO_PT;
    member_open(&w, &p, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w.f, p.peer, &setup), RF_OK);
    member_keys(&w, &p);
    world_view(&w, &v, 0);
    send_audio(&w, &p, 1);
    send_rtp(&w, &p, STUB_AUDIO_SSRC, 0, 0, 2, 320, "abc", 3);
    send_audio(&w, &p, 3);
    world_turn(&w);
    expect(&w, "viewer_no_format", 1);
    rf_peer_stats s;
    CHECK_EQ(rf_get_peer_stats(w.f, v.peer, &s), RF_OK);
    CHECK_EQ(s.track[RF_AUDIO].packets, 2);
    world_close(&w);
}

/* A full socket loses nothing: every packet comes, once, in order, when there is room again. */
static uint16_t order_next;
static uint64_t order_count;

static void watch_order(const rf_path *to, const uint8_t *d, size_t len) {
    (void)to;
    if (len < 30 || (d[1] & 0x7f) != 8)
        return;
    uint16_t seq = (uint16_t)(d[2] << 8 | d[3]);
    if (order_count++)
        CHECK_EQ(seq, order_next);
    order_next = (uint16_t)(seq + 1);
}

static void a_full_socket_keeps_cursors(void) {
    world w;
    member p, v;
    begin(&w, 1);
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    rf_path nowhere = stranger(1);
    while (rf_send(w.f, 0, &nowhere, (const uint8_t *)"x", 1) == RF_OK)
        ;
    for (uint16_t i = 0; i < 20; i++) {
        send_audio(&w, &p, i);
        rf_turn(w.f, 0, w.now);
    }
    CHECK(drops(&w, "send_again") > 0);
    base[RF_DROP_send_again] = 0;
    expect(&w, "send_again", drops(&w, "send_again"));
    w.sent = watch_order;
    order_count = 0;
    world_collect(&w);
    world_turn(&w);
    CHECK_EQ(order_count, 20);
    world_close(&w);
}

static void a_slow_viewer_is_lapped(void) {
    world w;
    member p, v;
    begin(&w, 1);
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    send_audio(&w, &p, 0);
    world_turn(&w);
    rf_ctx *x = &w.f->worker[0]->ctx;
    for (uint16_t i = 1; i < 200; i++)
        send_audio(&w, &p, i);
    x->blocked = 1;
    rf_ctx_turn(x);
    world_turn(&w);
    expect(&w, "viewer_lapped", 1);
    world_close(&w);
}

/* ---- nothing unauthenticated leaves a trace ---- */

static void forgeries_change_nothing(void) {
    world w;
    member p, v;
    uint64_t random = 88172645463325252u;
    begin(&w, 1);
    world_publish(&w, &p);
    world_view(&w, &v, 1);
    for (uint16_t i = 0; i < 30; i++) {
        send_video(&w, &p, i, 3000u * i, i == 0, 300);
        send_audio(&w, &p, i);
    }
    world_turn(&w);
    rf_peer *pub = inside(&w, &p), *view = inside(&w, &v);
    rf_pub pub_before = *pub->pub;
    rf_view *view_before = malloc(sizeof *view_before);
    CHECK(view_before != NULL);
    memcpy(view_before, view->view, sizeof *view_before);
    uint64_t heads[RF_KINDS], heard = pub->last_heard_ns, sent = w.sent_count;
    for (int k = 0; k < RF_KINDS; k++)
        heads[k] = atomic_load(&pub->stream->track[k].head);
    uint64_t paths = w.f->worker[0]->ctx.paths.used, ufrags = w.f->worker[0]->ctx.ufrags.used;
    for (int i = 0; i < 20000; i++) {
        uint8_t d[300];
        rf_path from = stranger((uint16_t)(i + 1));
        for (size_t at = 0; at < sizeof d; at++)
            d[at] = (uint8_t)next_random(&random);
        if (i % 3)
            d[0] = 0x80; /* media */
        if (i % 3 == 1)
            d[1] = (uint8_t)(200 + i % 7);
        rf_path *as = i % 4 == 0 ? &from : i % 2 ? &p.path : &v.path;
        inject(&w, 0, as, d, next_random(&random) % sizeof d);
        if (i % 50 == 0) {
            world_turn(&w);
            world_poll(&w);
        }
    }
    world_turn(&w);
    CHECK(memcmp(&pub_before, pub->pub, sizeof pub_before) == 0);
    CHECK(memcmp(view_before, view->view, sizeof *view_before) == 0);
    for (int k = 0; k < RF_KINDS; k++)
        CHECK_EQ(heads[k], atomic_load(&pub->stream->track[k].head));
    CHECK_EQ(pub->last_heard_ns, heard);
    CHECK_EQ(w.sent_count, sent);
    CHECK_EQ(w.f->worker[0]->ctx.paths.used, paths);
    CHECK_EQ(w.f->worker[0]->ctx.ufrags.used, ufrags);
    CHECK(drops(&w, "auth_failed") > 1000);
    free(view_before);
    world_close(&w);
}

static void every_name_was_provoked(void) {
    for (int d = 0; d < RF_DROP_COUNT; d++) {
        int kernel = 0;
        for (size_t i = 0; i < sizeof of_the_kernel / sizeof of_the_kernel[0]; i++)
            kernel |= strcmp(of_the_kernel[i], rf_drop_name(d)) == 0;
        if (!provoked[d] && !kernel)
            fprintf(stderr, "never provoked: %s\n", rf_drop_name(d));
        CHECK(provoked[d] || kernel);
    }
}

int main(void) {
    strangers();
    punts_are_bounded();
    early_media_waits_for_keys();
    authentication();
    publishers();
    viewers();
    workers();
    a_pinned_log_refuses();
    formats();
    a_full_socket_keeps_cursors();
    a_slow_viewer_is_lapped();
    forgeries_change_nothing();
    every_name_was_provoked();
    return done("demux");
}
