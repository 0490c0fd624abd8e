/* Anything that may happen, in any order, from a seed: loss, order, repeats, padding, types that
 * nobody knows, publishers and viewers that come and go, sockets that are full, NACKs for whatever.
 * All the while one (SSRC, number) has one content; and when the storm is over, every viewer is at
 * the live edge within seconds: nobody waits for ever. */
#include "model/peer.h"
#include "worker/worker.h"
#include "world.h"

enum { VIEWERS = 8, STORM = 1500, SEEDS = 12, PLACES = 1 << 16 };

static uint64_t dice;
static world w;
static member publisher, viewers[VIEWERS];
static uint8_t here[VIEWERS];
static int publishing, wants_key, fair;
static uint16_t video_seq, audio_seq;
static uint32_t video_ts;

static unsigned roll(unsigned sides) {
    return (unsigned)(next_random(&dice) >> 20) % sides;
}

/* ---- what came out ---- */

static struct { uint64_t name, hash; } seen[PLACES];

static uint64_t hash_of(const uint8_t *p, size_t n) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

static void watch_rtcp(const rf_path *to, const uint8_t *d, size_t len) {
    for (size_t at = 0; at + 4 + STUB_TAG <= len; at += 4u * (d[at + 3] + 1u))
        if (to->remote_port == publisher.path.remote_port && d[at + 1] == 206 && d[at] == 0x81)
            wants_key = fair || roll(2); /* it may get lost */
}

static void watch(const rf_path *to, const uint8_t *d, size_t len) {
    if (len < 12)
        return;
    if (d[1] >= 192 && d[1] <= 223) {
        watch_rtcp(to, d, len);
        return;
    }
    uint64_t name = 1ull << 63;
    for (int i = 8; i < 12; i++)
        name = name << 8 | d[i];
    name = name << 16 | (uint64_t)d[2] << 8 | d[3];
    name |= 1ull << 62;
    uint64_t hash = hash_of(d, len), at = name * 0x9e3779b97f4a7c15u >> 48;
    if (seen[at].name == name) /* most are; who shares a place is watched for a shorter time */
        CHECK(seen[at].hash == hash);
    seen[at].name = name;
    seen[at].hash = hash;
}

/* ---- what goes in ---- */

static void packet(uint16_t seq, uint8_t pt, int marker, uint32_t ts, int key, size_t size) {
    uint8_t payload[1400], d[1600];
    memset(payload, (int)(seq ^ ts), sizeof payload);
    payload[0] = 0x7c;
    payload[1] = (uint8_t)((marker & 2 ? 0x80 : 0) | (marker & 1 ? 0x40 : 0) | (key ? 5 : 1));
    size_t n = stub_rtp(d, pt, marker & 1, seq, ts, STUB_VIDEO_SSRC, payload, size);
    inject(&w, (int)roll(2), &publisher.path, d, n);
}

static void video_frame(int storm) {
    int key = wants_key || (storm && roll(60) == 0);
    unsigned count = key ? 6 : 1 + roll(4);
    video_ts += 3000;
    wants_key = 0;
    for (unsigned i = 0; i < count; i++, video_seq++) {
        int marker = (i == 0 ? 2 : 0) | (i == count - 1 ? 1 : 0);
        unsigned fate = storm ? roll(20) : 19;
        if (fate == 0)
            continue;
        uint16_t seq = fate == 1 ? (uint16_t)(video_seq - roll(40)) : video_seq;
        if (fate == 2)
            packet(seq, 13, 0, video_ts, 0, 30); /* a type that nobody knows */
        else if (fate == 3)
            packet(seq, STUB_VIDEO_PT, 0, video_ts, 0, 0); /* nothing in it */
        else if (fate != 1 || roll(2))
            packet(seq, STUB_VIDEO_PT, marker, video_ts, key, 200 + roll(1000));
    }
    if (storm && roll(100) == 0)
        video_seq = (uint16_t)(video_seq + roll(9000)); /* it jumps */
}

static void publish(void) {
    world_publish(&w, &publisher);
    publishing = 1;
    video_seq = (uint16_t)next_random(&dice);
    audio_seq = (uint16_t)next_random(&dice);
    video_ts = (uint32_t)next_random(&dice);
    wants_key = 1;
}

static void come_and_go(void) {
    unsigned i = roll(VIEWERS);
    if (roll(40) == 0) {
        if (here[i])
            world_leave(&w, &viewers[i]);
        else
            world_view(&w, &viewers[i], (int)roll(2));
        here[i] = !here[i];
    }
    if (roll(150) == 0) {
        if (publishing) {
            world_leave(&w, &publisher);
            publishing = 0;
        } else {
            publish();
        }
    }
}

static void ask(void) {
    unsigned i = roll(VIEWERS);
    if (!here[i])
        return;
    rf_peer *p = w.f->peers[(uint32_t)viewers[i].peer - 1].peer;
    uint16_t newest = (uint16_t)p->view->track[RF_VIDEO].next_out;
    send_nack(&w, &viewers[i], viewers[i].ssrc + 1, (uint16_t)(newest - roll(300)),
              (uint16_t)next_random(&dice));
}

/* ---- the storm, and after ---- */

/* Every worker's socket takes a few datagrams more, then no more. */
static void nearly_full(void) {
    uint8_t out[2048];
    rf_path to;
    stub_path(&to, 1);
    for (int i = 0; i < 2; i++) {
        while (rf_send(w.f, i, &to, (const uint8_t *)"x", 1) == RF_OK)
            ;
        for (unsigned room = roll(30); room; room--) {
            int n = rf_take_sent(w.f, i, &to, out, sizeof out);
            watch(&to, out, (size_t)n);
        }
        rf_turn(w.f, i, w.now);
    }
}

static void step(int storm, int full) {
    if (publishing) {
        video_frame(storm);
        send_audio(&w, &publisher, audio_seq++);
    }
    if (storm)
        ask();
    w.now += (storm ? roll(30) : 20) * MS;
    if (full)
        nearly_full();
    else
        world_turn(&w);
    world_poll(&w);
}

static void storm(uint64_t seed) {
    rf_config c;
    stub_config(&c, 2, 1);
    c.video_slots = 128;
    c.start_max_bytes = seed % 2 ? 20000 : 3000000;
    dice = seed * 0x9e3779b97f4a7c15u | 1;
    memset(seen, 0, sizeof seen);
    memset(here, 0, sizeof here);
    fair = 0;
    world_open(&w, &c);
    w.sent = watch;
    publish();
    for (int i = 0, full = 0; i < STORM; i++) {
        if (roll(40) == 0)
            full = (int)roll(60);
        step(1, full-- > 0);
        if (full <= 0 || roll(8) == 0)
            come_and_go();
    }
    if (!publishing)
        publish();
    world_turn(&w);
    fair = 1;
    for (int i = 0; i < 200; i++) /* four seconds of fair weather */
        step(0, 0);
    for (int i = 0; i < VIEWERS; i++) {
        if (!here[i])
            continue;
        rf_peer *p = w.f->peers[(uint32_t)viewers[i].peer - 1].peer;
        for (int k = 0; k < RF_KINDS; k++) {
            CHECK_EQ(p->view->track[k].state, RF_VIEW_LIVE);
            CHECK_EQ(p->view->track[k].cursor, atomic_load(&p->stream->track[k].head));
        }
    }
    world_close(&w);
}

int main(void) {
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        storm(seed);
    return done("chaos");
}
