/* RTP header parsing, RFC 7983 classification, STUN's USERNAME: valid packets, and each cut short.
 */
#include "base/error.h"
#include "test.h"
#include "wire/classify.h"
#include "wire/rtp.h"
#include "wire/stun.h"

static const uint8_t full[] = {
    0xB2, 0xE0, 0x12, 0x34, 0,    0,    0, 1, 0, 0, 0, 2, /* P X CC=2, marker, PT 96 */
    0,    0,    0,    3,    0,    0,    0, 4,             /* CSRCs */
    0xBE, 0xDE, 0,    1,    0x10, 0xAA, 0, 0,             /* one extension word */
    'p',  'a',  'y',  0,    0,    3,                      /* payload, padding of 3 */
};

static void parses(void) {
    rf_rtp r;
    uint8_t *p = exact(full, sizeof full);
    CHECK_EQ(rf_rtp_parse(p, sizeof full, &r), RF_OK);
    CHECK_EQ(r.marker, 1);
    CHECK_EQ(r.pt, 96);
    CHECK_EQ(r.seq, 0x1234);
    CHECK_EQ(r.csrc_count, 2);
    CHECK_EQ(r.ext_profile, 0xBEDE);
    CHECK_EQ(r.ext_len, 4);
    CHECK_EQ(r.payload_len, 3);
    CHECK_EQ(r.padding, 3);
    CHECK(memcmp(r.payload, "pay", 3) == 0);
    free(p);
}

static void every_cut_is_refused(void) {
    for (size_t n = 0; n < 28; n++) { /* up to the end of the extension block */
        rf_rtp r;
        uint8_t *p = exact(full, n);
        CHECK_EQ(rf_rtp_parse(p, n, &r), RF_ETRUNC);
        free(p);
    }
}

static void bad_padding(void) {
    static const uint8_t counts[] = {0, 7, 255};
    for (size_t i = 0; i < sizeof counts; i++) {
        rf_rtp r;
        uint8_t *p = exact(full, sizeof full);
        p[sizeof full - 1] = counts[i];
        CHECK_EQ(rf_rtp_parse(p, sizeof full, &r), RF_ETRUNC);
        free(p);
    }
}

static void wrong_version(void) {
    rf_rtp r;
    uint8_t *p = exact(full, sizeof full);
    p[0] = 0x32;
    CHECK_EQ(rf_rtp_parse(p, sizeof full, &r), RF_ETRUNC);
    free(p);
}

static void classes(void) {
    uint8_t d[20] = {0};
    CHECK_EQ(rf_classify(d, 0), RF_CLASS_SHORT);
    CHECK_EQ(rf_classify(d, 19), RF_CLASS_SHORT);
    CHECK_EQ(rf_classify(d, 20), RF_CLASS_STUN);
    for (int first = 0; first < 256; first++) {
        d[0] = (uint8_t)first;
        d[1] = 96;
        enum rf_class c = rf_classify(d, sizeof d);
        if (first <= 3)
            CHECK_EQ(c, RF_CLASS_STUN);
        else if (first >= 20 && first <= 63)
            CHECK_EQ(c, RF_CLASS_DTLS);
        else if (first >= 128 && first <= 191)
            CHECK_EQ(c, RF_CLASS_RTP);
        else
            CHECK_EQ(c, RF_CLASS_UNKNOWN);
    }
    d[0] = 0x80;
    for (int second = 0; second < 256; second++) {
        d[1] = (uint8_t)second;
        CHECK_EQ(rf_classify(d, sizeof d),
                 second >= 192 && second <= 223 ? RF_CLASS_RTCP : RF_CLASS_RTP);
    }
}

static void usernames(void) {
    static const uint8_t request[] = {0,   1,   0,   16,  0x21, 0x12, 0xA4, 0x42, 1,   2, 3, 4,
                                      5,   6,   7,   8,   9,    10,   11,   12,   0,   6, 0, 9,
                                      'a', 'b', 'c', 'd', ':',  'w',  'x',  'y',  'z', 0, 0, 0};
    const uint8_t *ufrag;
    size_t len;
    uint8_t *p = exact(request, sizeof request);
    CHECK_EQ(rf_stun_username(p, sizeof request, &ufrag, &len), RF_OK);
    CHECK_EQ(len, 4);
    CHECK(memcmp(ufrag, "abcd", 4) == 0);
    p[28] = 'x'; /* no colon */
    CHECK_EQ(rf_stun_username(p, sizeof request, &ufrag, &len), RF_ETRUNC);
    p[28] = ':';
    p[23] = 200; /* an attribute longer than the message */
    CHECK_EQ(rf_stun_username(p, sizeof request, &ufrag, &len), RF_ETRUNC);
    free(p);
    for (size_t n = 0; n < sizeof request; n++) {
        p = exact(request, n);
        CHECK_EQ(rf_stun_username(p, n, &ufrag, &len), RF_ETRUNC);
        free(p);
    }
}

int main(void) {
    parses();
    every_cut_is_refused();
    bad_padding();
    wrong_version();
    classes();
    usernames();
    return done("rtp");
}
