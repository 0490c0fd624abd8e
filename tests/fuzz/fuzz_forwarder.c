/* The whole data plane in memory, with two workers: what a publisher and two viewers (one with RTX,
 * one without) may send once they are authenticated, and what strangers may. SRTP is stubbed so
 * that every byte gets through; the time goes forward with the input.
 *
 * Input: records of | who and how:1 | ms:1 | length:2 | bytes |.
 * Kept up: no crash, no endless turn, no (SSRC, sequence number) with two contents, and every input
 * leaves the forwarder empty. One forwarder serves all inputs (making one costs 100 ms under ASan);
 * each gets a stream and peers of its own.
 */
#include "fuzz.h"
#include "rtcfwd.h"
#include "wire/hdrext.h"
#include "wire/keyframe.h"

enum { TAG = 16, PEERS = 3, WORKERS = 2, MAX_TURNS = 2000 };

static int protect(void *ctx, void *hdr, int *len) {
    (void)ctx;
    memset((uint8_t *)hdr + *len, 0xa5, TAG);
    *len += TAG;
    return 0;
}

static int unprotect(void *ctx, void *hdr, int *len) {
    (void)ctx;
    (void)hdr;
    (void)len;
    return 0;
}

static rf_path path_of(int who) {
    rf_path p;
    memset(&p, 0, sizeof p);
    p.remote_ip[10] = p.remote_ip[11] = p.local_ip[10] = p.local_ip[11] = 0xff;
    p.remote_ip[12] = p.local_ip[12] = 10;
    p.remote_ip[15] = (uint8_t)(who + 1);
    p.remote_port = (uint16_t)(1000 + who);
    return p;
}

static rf_forwarder *make(void) {
    rf_config c;
    rf_forwarder *f = NULL;
    memset(&c, 0, sizeof c);
    c.workers = WORKERS;
    c.in_memory = 1;
    c.egress = RF_EGRESS_GSO;
    c.engine = RF_ENGINE_LIBSRTP;
    c.max_peers = 8;
    c.max_streams = 2;
    c.video_slots = c.audio_slots = 64;
    c.punt_slots = 16;
    c.socket_buffer = 65536;
    c.start_pace_bps = 30000000;
    c.start_max_bytes = 20000;
    c.start_max_ns = 1000000000;
    c.remb_bps = 6000000;
    c.resend_percent = 10;
    c.keyframe_percent = 10;
    c.wall_offset_ns = 1700000000000000000u;
    c.srtp.protect = c.srtp.protect_rtcp = protect;
    c.srtp.unprotect = c.srtp.unprotect_rtcp = unprotect;
    CHECK(rf_new(&c, &f) == 0);
    return f;
}

static void publish(rf_forwarder *f, rf_handle peer, uint8_t codec) {
    rf_publication p;
    memset(&p, 0, sizeof p);
    p.local_ssrc = 99;
    p.ext_kind_of[1] = RF_EXT_MID;
    p.ext_kind_of[2] = RF_EXT_AUDIO_LEVEL;
    p.ext_kind_of[3] = RF_EXT_PLAYOUT_DELAY;
    p.ext_kind_of[4] = RF_EXT_DEPENDENCY;
    p.ext_kind_of[5] = RF_EXT_TWCC;
    memcpy(p.cname, "forwarder", 9);
    for (int k = 0; k < RF_KINDS; k++) {
        rf_pub_track *t = &p.track[k];
        t->present = t->nack = t->pli = t->remb = 1;
        t->clock_rate = k ? 90000 : 8000;
        t->mid_len = 1;
        t->mid[0] = (char)('0' + k);
        t->format_count = 1;
        t->format[0].pt = k ? 96 : 8;
        t->format[0].rtx_pt = k ? 97 : RF_NO_PT;
        t->format[0].codec = k ? codec : RF_CODEC_PCMA;
    }
    CHECK(rf_peer_publish(f, peer, &p) == 0);
}

static void view(rf_forwarder *f, rf_handle peer, uint32_t ssrc, int rtx) {
    rf_subscription s;
    memset(&s, 0, sizeof s);
    s.ext_id_of[RF_EXT_MID] = 4;
    s.ext_id_of[RF_EXT_PLAYOUT_DELAY] = 5;
    s.ext_id_of[RF_EXT_DEPENDENCY] = 12;
    s.start_playout_delay = 1;
    for (int k = 0; k < RF_KINDS; k++) {
        rf_view_track *t = &s.track[k];
        t->present = t->nack = 1;
        t->ssrc = ssrc + (uint32_t)k;
        t->rtx_ssrc = rtx && k ? ssrc + 2 : 0;
        memset(t->pt_of_format, RF_NO_PT, sizeof t->pt_of_format);
        memset(t->rtx_pt_of_format, RF_NO_PT, sizeof t->rtx_pt_of_format);
        t->pt_of_format[0] = k ? 102 : 8;
        if (t->rtx_ssrc)
            t->rtx_pt_of_format[0] = 103;
    }
    CHECK(rf_peer_view(f, peer, &s) == 0);
}

/* ---- one nonce, one content ---- */

static struct {
    uint32_t ssrc;
    uint64_t hash;
} seen[8][65536];
static uint32_t round_number;

static uint64_t hash_of(const uint8_t *p, size_t n) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 1099511628211u;
    return h;
}

/* Sequence numbers do not wrap in one input's few hundred packets, so 16 bits name the index. */
static void watch(const uint8_t *p, size_t n) {
    if (n < 12 || (p[1] >= 192 && p[1] <= 223))
        return;
    unsigned seq = (unsigned)(p[2] << 8 | p[3]);
    uint32_t ssrc = (uint32_t)p[8] << 24 | (uint32_t)p[9] << 16 | (uint32_t)p[10] << 8 | p[11];
    uint64_t hash = hash_of(p, n);
    uint32_t stamp = round_number << 8 | (ssrc & 0xff);
    if (seen[ssrc & 7][seq].ssrc == stamp)
        CHECK(seen[ssrc & 7][seq].hash == hash);
    seen[ssrc & 7][seq].ssrc = stamp;
    seen[ssrc & 7][seq].hash = hash;
}

static void settle(rf_forwarder *f, uint64_t now) {
    uint8_t out[2048];
    rf_path path;
    rf_event event;
    int turns = 0, len = 0;
    for (int again = 2; again > 0; again--)
        for (int w = 0; w < WORKERS; w++) {
            while (rf_turn(f, w, now) > 0)
                CHECK(++turns < MAX_TURNS);
            while ((len = rf_take_sent(f, w, &path, out, sizeof out)) > 0)
                watch(out, (size_t)len);
        }
    while (rf_poll(f, &event) > 0)
        ;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    round_number++;
    static const char password[] = "a password of some length";
    static const char *const ufrags[PEERS] = {"ours", "our2", "our3"};
    static rf_forwarder *f;
    static uint64_t now = 1000000000;
    rf_handle stream, peer[PEERS];
    if (!f)
        f = make();
    now += 60000000000u; /* nothing of the input before is young any more */
    CHECK(rf_stream_open(f, &stream) == 0);
    for (int i = 0; i < PEERS; i++) {
        rf_path path = path_of(i);
        CHECK(rf_peer_open(f, stream, i ? RF_VIEWER : RF_PUBLISHER, &peer[i]) == 0);
        if (i)
            view(f, peer[i], (uint32_t)(i == 1 ? 0x10 : 0x14), i == 1);
        else
            publish(f, peer[i], (uint8_t)(data[0] % (RF_CODEC_AV1 + 1)));
        CHECK(rf_peer_path(f, peer[i], &path) == 0);
        CHECK(rf_peer_ufrag(f, peer[i], (const uint8_t *)ufrags[i], 4, (const uint8_t *)password,
                            sizeof password - 1, 0) == 0);
        CHECK(rf_peer_keys(f, peer[i], 7, f, f, NULL) == 0);
    }
    settle(f, now);
    for (size_t at = 1; at + 4 <= size;) {
        int how = data[at];
        size_t len = (size_t)(data[at + 2] << 8 | data[at + 3]) % 1700;
        now += (uint64_t)data[at + 1] * (how & 0x80 ? 50000000u : 1000000u);
        at += 4;
        if (len > size - at)
            len = size - at;
        rf_path path = path_of(how & 3);
        uint8_t *copy = malloc(len ? len : 1);
        memcpy(copy, data + at, len);
        rf_inject(f, how >> 2 & 1, &path, copy, len, now);
        free(copy);
        at += len;
        if (!(how & 0x40)) /* else it arrives together with the next one */
            settle(f, now);
    }
    settle(f, now + 5000000);
    for (int i = PEERS - 1; i >= 0; i--)
        rf_peer_close(f, peer[i], 1);
    settle(f, now + 6000000);
    rf_stream_close(f, stream);
    settle(f, now + 7000000);
    rf_stream_stats gone;
    CHECK(rf_get_stream_stats(f, stream, &gone) != 0);
    return 0;
}
