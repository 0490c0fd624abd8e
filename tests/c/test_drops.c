/* What authenticated peers may get wrong or ask too much, and where the log and the socket say no:
 * each provoked and found under its name. With test_demux.c that is every reason there is, but for
 * those that only a kernel gives (ENOBUFS, EMSGSIZE, EHOSTUNREACH). */
#include "ledger.h"

static const char *const names[] = {
    "rtp_malformed", "rtcp_malformed",   "unknown_ssrc", "unknown_payload_type", "probation",
    "too_old",       "duplicate",        "padding_only", "rtx_malformed",        "log_pinned",
    "viewer_lapped", "viewer_no_format", "nack_unknown", "nack_gated",           "nack_budget",
    "send_again",    "remb_absurd",
};

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
    for (int i = 0; i < 8; i++) { /* six tries in all */
        w.now += 50 * MS;
        send_nack(&w, &v, v.ssrc + 1, newest, 0);
        world_turn(&w);
    }
    expect(&w, "nack_gated", 3);
    send_nack(&w, &v, 4711, newest, 0); /* not one of his: not even counted */
    world_turn(&w);
    expect(&w, "nack_unknown", 0);
    rf_peer_stats stats;
    for (int round = 0; round < 6; round++) {
        for (uint16_t back = 17; back <= 17 * 6; back = (uint16_t)(back + 17))
            send_nack(&w, &v, v.ssrc + 1, (uint16_t)(newest - back), 0xffff);
        w.now += 50 * MS;
        world_turn(&w);
    }
    CHECK_EQ(rf_get_peer_stats(w.f, v.peer, &stats), RF_OK);
    uint64_t resent = stats.track[RF_VIDEO].resent - 6; /* of the newest */
    CHECK(resent >= 17 * 6 && resent < 17 * 6 * 6);
    expect(&w, "nack_budget", 17 * 6 * 6 - resent);
    uint8_t rtcp[64] = {0x81, 205, 0, 9};
    send_rtcp(&w, &v, rtcp, 16);
    world_turn(&w);
    expect(&w, "rtcp_malformed", 1);
    world_close(&w);
}

/* ---- at the edges of the log and the socket ---- */

/* REMB (draft-alvestrand-rmcat-remb): exponent and mantissa as given. */
static void send_remb(world *w, const member *m, unsigned exponent, uint32_t mantissa) {
    uint8_t d[64] = {0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, 'R', 'E', 'M', 'B', 0};
    d[17] = (uint8_t)(exponent << 2 | mantissa >> 16);
    d[18] = (uint8_t)(mantissa >> 8);
    d[19] = (uint8_t)mantissa;
    send_rtcp(w, m, d, 20);
}

static void absurd_estimates(void) {
    world w;
    member p, v;
    rf_peer_stats s;
    begin(&w, 1);
    world_publish(&w, &p);
    world_view(&w, &v, 0);
    send_remb(&w, &v, 0, 0);
    send_remb(&w, &v, 63, 0x3ffff);
    send_remb(&w, &v, 20, 0x3ffff);
    world_turn(&w);
    expect(&w, "remb_absurd", 3);
    for (int i = 0; i < 60; i++) /* a flood: fifty a second */
        send_remb(&w, &v, 3, 100000);
    world_turn(&w);
    expect(&w, "remb_absurd", 10);
    CHECK_EQ(rf_get_peer_stats(w.f, v.peer, &s), RF_OK);
    CHECK_EQ(s.remb_bps, 800000);
    CHECK_EQ(s.estimate_bps, 0); /* by itself it limits nothing */
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

int main(void) {
    publishers();
    viewers();
    absurd_estimates();
    a_pinned_log_refuses();
    formats();
    a_full_socket_keeps_cursors();
    a_slow_viewer_is_lapped();
    provoked_just(names, sizeof names / sizeof names[0]);
    CHECK_EQ(RF_DROP_COUNT, sizeof names / sizeof names[0] + 17 + 3 + 3 +
                                2); /* test_legs.c, test_consent.py, test_slow.py */
    return done("drops");
}
