/* Key-frame detection per codec: the payload formats' own examples and their malformed twins. */
#include "test.h"
#include "wire/h265.h"
#include "wire/keyframe.h"

enum { KEY = RF_PAYLOAD_KEY, PARAMS = RF_PAYLOAD_PARAMS, IDR = RF_PAYLOAD_IDR };
enum { SKIP = RF_PAYLOAD_DISCARDABLE, B = RF_PAYLOAD_B, BAD = RF_PAYLOAD_MALFORMED };

typedef struct row {
    enum rf_codec codec;
    uint8_t bytes[16];
    size_t len;
    unsigned flags;
} row;

static const row rows[] = {
    /* H264, RFC 6184 */
    {RF_CODEC_H264, {0x67, 0x42}, 2, KEY | PARAMS},  /* SPS */
    {RF_CODEC_H264, {0x68, 1}, 2, 0},                /* PPS alone begins nothing */
    {RF_CODEC_H264, {0x65, 1}, 2, KEY | IDR},        /* IDR slice */
    {RF_CODEC_H264, {0x41, 1}, 2, 0},                /* slice, referenced */
    {RF_CODEC_H264, {0x01, 1}, 2, SKIP},             /* slice, nal_ref_idc 0 */
    {RF_CODEC_H264, {0x41, 0x9e}, 2, B},             /* first_mb 0, slice_type 6 (B) */
    {RF_CODEC_H264, {0x01, 0xa8}, 2, B | SKIP},      /* slice_type 1, nal_ref_idc 0 */
    {RF_CODEC_H264, {0x41, 0x9a}, 2, 0},             /* slice_type 5 (P) */
    {RF_CODEC_H264, {0x5C, 0x81, 0x9e}, 3, B},       /* FU-A, start */
    {RF_CODEC_H264, {0x5C, 0x01, 0x9e}, 3, 0},       /* … not the start */
    {RF_CODEC_H264, {0x18, 0, 2, 0x41, 0x9e}, 5, B}, /* within a STAP-A */
    {RF_CODEC_H264, {0x18, 0, 2, 0x67, 1, 0, 1, 0x68}, 8, KEY | PARAMS}, /* STAP-A, NRI 0 */
    {RF_CODEC_H264, {0x18, 0, 1, 0x01}, 4, 0},   /* never judged from a STAP-A */
    {RF_CODEC_H264, {0x18, 0, 0}, 3, BAD},       /* size 0 */
    {RF_CODEC_H264, {0x18, 0, 9, 0x67}, 4, BAD}, /* past the end */
    {RF_CODEC_H264, {0x18, 0}, 2, BAD},
    {RF_CODEC_H264, {0x18}, 1, BAD},
    {RF_CODEC_H264, {0x7C, 0x85, 1}, 3, KEY | IDR}, /* FU-A, start */
    {RF_CODEC_H264, {0x7C, 0x05, 1}, 3, 0},         /* … middle */
    {RF_CODEC_H264, {0x7C, 0x45, 1}, 3, 0},         /* … end */
    {RF_CODEC_H264, {0x7C, 0xC5, 1}, 3, BAD},       /* start and end at once */
    {RF_CODEC_H264, {0x1C, 0x01, 1}, 3, SKIP},      /* any part of a loose slice */
    {RF_CODEC_H264, {0x7C}, 1, BAD},
    {RF_CODEC_H264, {0x1D, 0x85, 1}, 3, BAD}, /* FU-B: not in mode 1 */
    /* H265, RFC 7798 */
    {RF_CODEC_H265, {0x40, 1, 1}, 3, KEY | PARAMS}, /* VPS */
    {RF_CODEC_H265, {0x26, 1, 1}, 3, KEY | IDR},    /* IDR_W_RADL */
    {RF_CODEC_H265, {0x02, 1, 1}, 3, 0},
    {RF_CODEC_H265, {0x62, 1, 0x93}, 3, KEY | IDR}, /* FU, start, type 19 */
    {RF_CODEC_H265, {0x62, 1, 0x13}, 3, 0},
    {RF_CODEC_H265, {0x60, 1, 0, 2, 0x42, 1}, 6, KEY | PARAMS}, /* AP with an SPS */
    {RF_CODEC_H265, {0x60, 1, 0, 9, 0x42, 1}, 6, BAD},
    {RF_CODEC_H265, {0x40, 1}, 2, BAD},
    /* VP8, RFC 7741 */
    {RF_CODEC_VP8, {0x10, 0x00}, 2, KEY},
    {RF_CODEC_VP8, {0x10, 0x01}, 2, 0},
    {RF_CODEC_VP8, {0x00, 0x00}, 2, 0},                     /* not the start of partition 0 */
    {RF_CODEC_VP8, {0x90, 0x80, 0x81, 0x23, 0x00}, 5, KEY}, /* 15-bit PictureID */
    {RF_CODEC_VP8, {0x90, 0xE0, 0x01, 0x02, 0x03, 0x00}, 6, KEY},
    {RF_CODEC_VP8, {0x90, 0x80, 0x81}, 3, BAD},
    {RF_CODEC_VP8, {0x30, 0x01}, 2, SKIP},
    /* VP9, RFC 9628 */
    {RF_CODEC_VP9, {0x08}, 1, KEY},
    {RF_CODEC_VP9, {0x48}, 1, 0},                   /* inter-predicted */
    {RF_CODEC_VP9, {0xA8, 0x01, 0x02, 0x00}, 4, 0}, /* spatial layer 1 */
    {RF_CODEC_VP9, {0xA8, 0x01, 0x00, 0x00}, 4, KEY},
    {RF_CODEC_VP9, {0x88}, 1, BAD},
    /* AV1 */
    {RF_CODEC_AV1, {0x18}, 1, KEY},
    {RF_CODEC_AV1, {0x10}, 1, 0},
    /* audio has none */
    {RF_CODEC_PCMA, {0x67}, 1, 0},
    {RF_CODEC_OPUS, {0x08}, 1, 0},
};

static void nal_units(void) {
    static const uint8_t stap[] = {0x18, 0, 2, 0x68, 1, 0, 3, 0x67, 2, 3};
    size_t len;
    rf_nals nals = rf_nals_of(stap, sizeof stap);
    CHECK(rf_nals_next(&nals, &len) == stap + 3);
    CHECK_EQ(len, 2);
    CHECK(rf_nals_next(&nals, &len) == stap + 7);
    CHECK_EQ(len, 3);
    CHECK(rf_nals_next(&nals, &len) == NULL);
    nals = rf_nals_of(stap, 8); /* the second is cut */
    CHECK(rf_nals_next(&nals, &len) != NULL);
    CHECK(rf_nals_next(&nals, &len) == NULL);
    nals = rf_nals_of(stap + 3, 2); /* a single one */
    CHECK(rf_nals_next(&nals, &len) == stap + 3);
    CHECK(rf_nals_next(&nals, &len) == NULL);
    static const uint8_t fragment[] = {0x7c, 0x85, 1};
    nals = rf_nals_of(fragment, sizeof fragment);
    CHECK(rf_nals_next(&nals, &len) == NULL);
}

/* SPSs of x264 (High 1280x720, High 1920x1080 cropped from 1088, Constrained Baseline 640x360). */
static void pictures(void) {
    static const struct {
        uint8_t sps[32];
        size_t len;
        uint16_t width, height;
    } known[] = {
        {{0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xba, 0x10, 0x00, 0x00,
          0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60},
         25,
         1280,
         720},
        {{0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0x84, 0x00,
          0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58},
         26,
         1920,
         1080},
        {{0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0x84, 0x00, 0x00,
          0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x58, 0xba, 0x80},
         24,
         640,
         360},
    };
    uint16_t w, h;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint8_t *p = exact(known[i].sps, known[i].len);
        CHECK(rf_h264_size(p, known[i].len, &w, &h));
        CHECK_EQ(w, known[i].width);
        CHECK_EQ(h, known[i].height);
        CHECK(!rf_h264_size(p, 6, &w, &h));
        free(p);
    }
    static const uint8_t vp8[] = {0x90, 0x80, 1, 0x50, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1, 0};
    CHECK(rf_payload_size(RF_CODEC_VP8, vp8, sizeof vp8, &w, &h));
    CHECK_EQ(w, 640);
    CHECK_EQ(h, 360);
    static const uint8_t pps[] = {0x68, 0xce, 0x38, 0x80}, pps1[] = {0x68, 0x53, 0x8f};
    int of = -1;
    CHECK_EQ(rf_h264_pps_id(pps, sizeof pps, &of), 0);
    CHECK_EQ(of, 0);
    CHECK_EQ(rf_h264_pps_id(pps1, sizeof pps1, &of), 1);
    CHECK_EQ(of, 0);
    CHECK_EQ(rf_h264_pps_id(pps, 1, &of), -1);
    CHECK_EQ(rf_h264_sps_id(known[0].sps, known[0].len), 0);
    CHECK_EQ(rf_h264_sps_id(known[0].sps, 4), -1);
}

/* H265 parameter sets as x265 writes them; their numbers. */
static void hevc(void) {
    static const uint8_t sps[] = {0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00,
                                  0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f, 0xa0, 0x05, 0x02, 0x01};
    static const uint8_t layered[] = {
        0x42, 0x01, 0x23, 0x01, 0x60, 0x01, 0x01, 0x01, 0x90,
        0x01, 0x01, 0x01, 0x01, 0x01, 0x3f, 0x40, 0x00, /* of one sub-layer: its level only */
        0x3c, 0x6c /* sps id 2 */};
    static const uint8_t pps[] = {0x44, 0x01, 0xc1, 0x72}, pps1[] = {0x44, 0x01, 0x4b, 0x72};
    int of = -1;
    CHECK_EQ(rf_h265_sps_id(sps, sizeof sps, &of), 0);
    CHECK_EQ(of, 0);
    CHECK_EQ(rf_h265_sps_id(layered, sizeof layered, &of), 2);
    CHECK_EQ(of, 2);
    CHECK_EQ(rf_h265_sps_id(sps, 10, &of), -1);
    CHECK_EQ(rf_h265_pps_id(pps, sizeof pps, &of), 0);
    CHECK_EQ(of, 0);
    CHECK_EQ(rf_h265_pps_id(pps1, sizeof pps1, &of), 1);
    CHECK_EQ(of, 1);
    CHECK_EQ(rf_h265_pps_id(pps, 2, &of), -1);
    static const uint8_t ap[] = {0x60, 1, 0, 3, 0x40, 1, 1, 0, 4, 0x44, 1, 0xc1, 0x72, 0, 9, 0x42};
    uint8_t *p = exact(ap, sizeof ap);
    rf_nals nals = rf_h265_nals_of(p, sizeof ap);
    size_t n;
    const uint8_t *nal = rf_nals_next(&nals, &n);
    CHECK(nal && n == 3 && rf_h265_type(nal) == RF_HEVC_VPS);
    nal = rf_nals_next(&nals, &n);
    CHECK(nal && n == 4 && rf_h265_type(nal) == RF_HEVC_PPS);
    CHECK(!rf_nals_next(&nals, &n)); /* cut off */
    free(p);
    static const uint8_t fu[] = {0x62, 1, 0x93, 0xaf};
    nals = rf_h265_nals_of(fu, sizeof fu);
    CHECK(!rf_nals_next(&nals, &n));
}

int main(void) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *p = exact(rows[i].bytes, rows[i].len);
        unsigned got = rf_payload_inspect(rows[i].codec, p, rows[i].len);
        if (got != rows[i].flags)
            fprintf(stderr, "row %zu\n", i);
        CHECK_EQ(got, rows[i].flags);
        free(p);
        CHECK_EQ(rf_payload_inspect(rows[i].codec, rows[i].bytes, 0), 0);
    }
    nal_units();
    pictures();
    hevc();
    uint64_t seed = 42;
    for (int i = 0; i < 20000; i++) { /* any bytes, any codec: no read past the end */
        uint8_t bytes[24];
        size_t n = next_random(&seed) % 24;
        for (size_t b = 0; b < n; b++)
            bytes[b] = (uint8_t)next_random(&seed);
        uint8_t *p = exact(bytes, n);
        for (int codec = 0; codec <= RF_CODEC_PCMA; codec++)
            CHECK(rf_payload_inspect((enum rf_codec)codec, p, n) < 64);
        uint16_t width, height;
        rf_h264_size(p, n, &width, &height);
        int of;
        rf_h264_pps_id(p, n, &of);
        rf_h264_sps_id(p, n);
        rf_h265_pps_id(p, n, &of);
        rf_h265_sps_id(p, n, &of);
        rf_nals nals = rf_h265_nals_of(p, n);
        for (size_t len; rf_nals_next(&nals, &len);)
            ;
        for (int codec = 0; codec <= RF_CODEC_PCMA; codec++)
            rf_payload_size((enum rf_codec)codec, p, n, &width, &height);
        free(p);
    }
    return done("keyframe");
}
