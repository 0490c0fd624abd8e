/* The doors: what strangers, forgers and peers without keys may bring about, provoked and found
 * under its name; and that whatever is not authenticated changes nothing but counters. */
#include "ledger.h"

static const char *const names[] = {
    "unclassified",    "too_short",
    "too_long",        "stun_unknown_ufrag",
    "stun_malformed",  "dtls_unknown_tuple",
    "unknown_tuple",   "punt_rate",
    "punt_full",       "no_keys",
    "auth_failed",     "replayed",
    "rtp_from_viewer", "protect_failed",
    "no_path",         "mailbox_full",
    "stale_handle",
};

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
    rf_datagram long_one = {p.path, d, RF_MAX_DATAGRAM + 1, 0}; /* as the kernel marks a cut one */
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

/* ---- between workers ---- */

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
    base[RF_DROP_duplicate] += 511; /* all that fits are one packet */
    expect(&w, "duplicate", 0);
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

int main(void) {
    strangers();
    punts_are_bounded();
    early_media_waits_for_keys();
    authentication();
    workers();
    forgeries_change_nothing();
    provoked_just(names, sizeof names / sizeof names[0]);
    return done("demux");
}
