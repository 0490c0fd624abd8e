/* No memory is taken or given back on the packet path: with everything installed, media, repairs,
 * reports, checks and forgeries go through two workers, and not one call of the allocator is made
 * from csrc/. The linker puts the functions below in its place (see the Makefile). */
#include "world.h"

static int counting;
static unsigned long calls, calls_ever;

static void count(void) {
    calls_ever++;
    if (counting)
        calls++;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void __wrap_free(void *p);

void *__wrap_malloc(size_t n) {
    count();
    return __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size) {
    count();
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n) {
    count();
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t align, size_t n) {
    count();
    return __real_aligned_alloc(align, n);
}

void __wrap_free(void *p) {
    count();
    __real_free(p);
}

enum { VIEWERS = 12, FRAMES = 1000, CHUNKS = 5 };

static uint16_t newest[VIEWERS];
static member viewers[VIEWERS];
static uint64_t rtx, video;

static void watch(const rf_path *to, const uint8_t *d, size_t len) {
    if (len < 12 || (d[1] >= 192 && d[1] <= 223))
        return;
    rtx += (d[1] & 0x7f) == 103;
    if ((d[1] & 0x7f) != 102)
        return;
    video++;
    for (int i = 0; i < VIEWERS; i++)
        if (viewers[i].path.remote_port == to->remote_port)
            newest[i] = (uint16_t)(d[2] << 8 | d[3]);
}

static void one_frame(world *w, const member *p, int frame, uint16_t *seq) {
    uint8_t payload[1000], d[300];
    memset(payload, frame, sizeof payload);
    for (int i = 0; i < CHUNKS; i++, (*seq)++) {
        payload[0] = 0x7c;
        payload[1] = (uint8_t)((i == 0 ? 0x80 : 0) | (i == CHUNKS - 1 ? 0x40 : 0) |
                               (frame % 50 == 0 ? 5 : 1));
        if (frame % 7 != 3 || i != 2) /* a loss now and then */
            send_rtp(w, p, STUB_VIDEO_SSRC, STUB_VIDEO_PT, i == CHUNKS - 1, *seq,
                     (uint32_t)frame * 3000, payload, sizeof payload);
    }
    send_audio(w, p, (uint16_t)frame);
    memset(d, frame, sizeof d);
    d[0] = 0x80;
    inject(w, frame & 1, &p->path, d, sizeof d); /* a forgery, at any worker's door */
    memset(d, 0, 13);
    d[0] = 22;
    inject(w, frame & 1, &p->path, d, 13); /* DTLS */
}

static void feedback(world *w, int frame) {
    member *v = &viewers[frame % VIEWERS];
    uint8_t pli[64] = {0x81, 206, 0, 2, 0, 0, 0, 1};
    uint32_t ssrc = v->ssrc + 1;
    send_nack(w, v, ssrc, (uint16_t)(newest[frame % VIEWERS] - 3), 1);
    for (int i = 0; i < 4; i++)
        pli[8 + i] = (uint8_t)(ssrc >> (24 - 8 * i));
    send_rtcp(w, v, pli, 12);
}

int main(void) {
    world w;
    member p;
    rf_config c;
    uint16_t seq = 65000;
    stub_config(&c, 2, 1);
    c.punt_slots = 1024;
    world_open(&w, &c);
    w.sent = watch;
    world_publish(&w, &p);
    for (int i = 0; i < VIEWERS; i++)
        world_view(&w, &viewers[i], i & 1);
    unsigned long before = calls_ever;
    CHECK(before > 20); /* the functions above are in place */
    for (int frame = 0; frame < FRAMES; frame++) {
        one_frame(&w, &p, frame, &seq); /* the test's own copies are not counted */
        feedback(&w, frame);
        counting = 1;
        for (int ms = 0; ms < 33; ms += 11) {
            w.now += 11 * MS;
            world_turn(&w);
        }
        rf_stream_stats figures;
        CHECK_EQ(rf_get_stream_stats(w.f, w.stream, &figures), RF_OK);
        world_poll(&w);
        counting = 0;
    }
    CHECK_EQ(calls, 0);
    CHECK(video > FRAMES * VIEWERS * 3);
    CHECK(rtx > 50);
    CHECK(drops(&w, "auth_failed") > 0);
    CHECK(w.events[RF_EVENT_DTLS] > 0);
    world_close(&w);
    return done("no_malloc");
}
