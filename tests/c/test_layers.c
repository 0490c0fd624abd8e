/* Simulcast from outside the C code: RIDs make logs, silence hands a viewer down, and what a
 * publisher may send to confuse the layers is dropped by name. */
#include "world.h"

enum { LAYERS = 3, RID_ID = 2 };

static void publish_layers(world *w, member *m) {
    rf_publication p;
    stub_publication(&p);
    rf_pub_track *v = &p.track[RF_VIDEO];
    v->layers = LAYERS;
    for (int i = 0; i < LAYERS; i++) {
        v->rid[i].id[0] = (char)('a' + i);
        v->rid[i].len = 1;
    }
    p.ext_kind_of[RID_ID] = 2; /* RF_EXT_RID */
    member_open(w, m, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w->f, m->peer, &p), RF_OK);
    member_keys(w, m);
}

/* A frame of one packet of layer `i`, with its RID when `named`. */
static void send_layer(world *w, const member *m, int i, int named, uint16_t seq, int key) {
    uint8_t plain[200] = {0x80, 0x80 | STUB_VIDEO_PT}, wire[300];
    int n = 12;
    plain[2] = (uint8_t)(seq >> 8);
    plain[3] = (uint8_t)seq;
    plain[5] = (uint8_t)(seq >> 4);
    plain[6] = (uint8_t)(seq << 4);
    plain[11] = (uint8_t)(100 + i);
    if (named) {
        static const uint8_t head[] = {0xBE, 0xDE, 0, 1, RID_ID << 4};
        plain[0] |= 0x10;
        memcpy(plain + n, head, sizeof head);
        plain[n + 5] = (uint8_t)('a' + i);
        n += 8;
    }
    plain[n] = key ? 0x65 : 0x41;
    plain[n + 1] = (uint8_t)i;
    n += 40 + 20 * i;
    memcpy(wire, plain, (size_t)n);
    stub_protect(NULL, wire, &n);
    inject(w, 0, &m->path, wire, (size_t)n);
}

static rf_stream_stats stats(const world *w) {
    rf_stream_stats s;
    CHECK_EQ(rf_get_stream_stats(w->f, w->stream, &s), RF_OK);
    return s;
}

static void play(world *w, const member *m, uint16_t *seq, unsigned on, int frames) {
    for (int n = 0; n < frames; n++, ++*seq) {
        for (int i = 0; i < LAYERS; i++)
            if (on >> i & 1)
                send_layer(w, m, i, *seq < 3, *seq, n == 0);
        world_pass(w, 30 * MS);
    }
}

static uint32_t layer_of(const world *w, const member *viewer) {
    rf_peer_stats s;
    CHECK_EQ(rf_get_peer_stats(w->f, viewer->peer, &s), RF_OK);
    return s.track[RF_VIDEO].layer;
}

static void silence_hands_down(world *w) {
    member pub, viewer, chooser;
    uint16_t seq = 1;
    publish_layers(w, &pub);
    world_view(w, &viewer, 0);
    world_view(w, &chooser, 0);
    play(w, &pub, &seq, 7, 60);
    rf_stream_stats s = stats(w);
    CHECK_EQ(s.layers, LAYERS);
    CHECK_EQ(s.best, 2); /* by bitrate: these pictures tell no size */
    for (int i = 0; i < LAYERS; i++) {
        CHECK_EQ(s.layer[i].packets, 60);
        CHECK(s.layer[i].bitrate > 0);
        CHECK(s.layer[i].active);
    }
    CHECK_EQ(s.track[RF_VIDEO].packets, 180);
    CHECK_EQ(layer_of(w, &viewer), 2);
    CHECK_EQ(rf_peer_layer(w->f, chooser.peer, 1), RF_OK);
    play(w, &pub, &seq, 7, 3);
    CHECK_EQ(layer_of(w, &chooser), 1);
    play(w, &pub, &seq, 1 | 2, 30); /* the highest falls silent */
    play(w, &pub, &seq, 1 | 2, 3);  /* … and a key frame comes */
    CHECK_EQ(stats(w).best, 1);
    CHECK_EQ(layer_of(w, &viewer), 1);
    play(w, &pub, &seq, 1 | 4, 30); /* the chosen one too; a higher one does not stand in */
    play(w, &pub, &seq, 1 | 4, 3);
    CHECK_EQ(layer_of(w, &chooser), 0);
    play(w, &pub, &seq, 7, 30);
    play(w, &pub, &seq, 7, 3);
    CHECK_EQ(layer_of(w, &chooser), 1);
    CHECK_EQ(layer_of(w, &viewer), 2);
    world_leave(w, &viewer);
    world_leave(w, &chooser);
    world_leave(w, &pub);
}

static void strangers(world *w) {
    member pub;
    publish_layers(w, &pub);
    uint64_t before = drops(w, "unknown_ssrc");
    send_layer(w, &pub, 0, 0, 1, 1); /* nobody has said which layer this SSRC is */
    world_turn(w);
    CHECK_EQ(drops(w, "unknown_ssrc"), before + 1);
    send_layer(w, &pub, 3, 1, 1, 1); /* a RID that was not negotiated */
    world_turn(w);
    CHECK_EQ(drops(w, "unknown_ssrc"), before + 2);
    send_layer(w, &pub, 1, 1, 1, 1);
    send_layer(w, &pub, 1, 0, 2, 0); /* known from now on */
    world_turn(w);
    CHECK_EQ(drops(w, "unknown_ssrc"), before + 2);
    CHECK_EQ(stats(w).layer[1].ssrc, 101);
    world_leave(w, &pub);
}

static void bad_calls(world *w) {
    member viewer, pub;
    rf_publication p;
    stub_publication(&p);
    p.track[RF_VIDEO].layers = RF_LAYERS + 1;
    member_open(w, &pub, RF_PUBLISHER);
    CHECK_EQ(rf_peer_publish(w->f, pub.peer, &p), RF_EINVAL);
    CHECK_EQ(rf_peer_layer(w->f, pub.peer, 0), RF_EINVAL);
    world_view(w, &viewer, 0);
    CHECK_EQ(rf_peer_layer(w->f, viewer.peer, RF_LAYERS), RF_EINVAL);
    CHECK_EQ(rf_peer_layer(w->f, viewer.peer, -2), RF_EINVAL);
    CHECK_EQ(rf_peer_layer(w->f, viewer.peer, -1), RF_OK);
    world_leave(w, &viewer);
    CHECK_EQ(rf_peer_layer(w->f, viewer.peer, 0), RF_ESTALE);
    world_leave(w, &pub);
}

int main(void) {
    world w;
    rf_config c;
    stub_config(&c, 1, 1);
    world_open(&w, &c);
    silence_hands_down(&w);
    strangers(&w);
    bad_calls(&w);
    CHECK_EQ(rf_stream_close(w.f, w.stream), RF_OK);
    world_close(&w);
    return done("layers");
}
