/* RTCP: what we write reads back; compounds that lie about their lengths are refused whole. */
#include "base/error.h"
#include "test.h"
#include "wire/rtcp.h"

static uint8_t buffer[512];

static rf_writer writer(void) {
    rf_writer w = {buffer, 0, sizeof buffer};
    return w;
}

static rf_rtcp_item only_item(const rf_writer *w) {
    rf_rtcp_walk walk;
    rf_rtcp_item item;
    CHECK_EQ(rf_rtcp_begin(&walk, w->out, w->at), RF_OK);
    CHECK_EQ(rf_rtcp_next(&walk, &item), 1);
    rf_rtcp_item none;
    CHECK_EQ(rf_rtcp_next(&walk, &none), 0);
    return item;
}

static void reports(void) {
    rf_writer w = writer();
    rf_sender_info sr = {1, 0x0123456789abcdefu, 2, 3, 4}, sr_back;
    CHECK_EQ(rf_rtcp_write_sr(&w, &sr), RF_OK);
    rf_rtcp_item item = only_item(&w);
    CHECK_EQ(rf_rtcp_sender_info(&item, &sr_back), RF_OK);
    CHECK(sr_back.ntp == sr.ntp && sr_back.rtp_ts == 2 && sr_back.octets == 4);

    w = writer();
    rf_report_block b = {9, 128, -5, 70000, 11, 12, 13}, back;
    CHECK_EQ(rf_rtcp_write_rr(&w, 1, &b, 1), RF_OK);
    item = only_item(&w);
    CHECK_EQ(rf_rtcp_report(&item, 0, &back), RF_OK);
    CHECK(back.ssrc == 9 && back.fraction_lost == 128 && back.cumulative_lost == -5 &&
          back.highest_seq == 70000 && back.jitter == 11 && back.lsr == 12 && back.dlsr == 13);
    CHECK_EQ(rf_rtcp_report(&item, 1, &back), RF_ETRUNC);
    CHECK_EQ(rf_rtcp_report(&item, -1, &back), RF_ETRUNC);
    CHECK_EQ(rf_rtcp_sender_info(&item, &sr_back), RF_ETRUNC);
}

static void nack_round_trip(uint64_t seed) {
    uint16_t seqs[60];
    int asked[65536] = {0}, count = (int)(next_random(&seed) % 60) + 1, pairs;
    uint16_t at = (uint16_t)next_random(&seed);
    for (int i = 0; i < count; i++) {
        seqs[i] = at;
        asked[at] = 1;
        at = (uint16_t)(at + 1 + next_random(&seed) % 30);
    }
    rf_writer w = writer();
    CHECK_EQ(rf_rtcp_write_nack(&w, 1, 2, seqs, count), RF_OK);
    rf_rtcp_item item = only_item(&w);
    uint32_t ssrc;
    CHECK_EQ(rf_rtcp_nack(&item, &ssrc, &pairs), RF_OK);
    CHECK_EQ(ssrc, 2);
    int seen = 0;
    for (int i = 0; i < pairs; i++) {
        uint16_t pid, blp;
        rf_rtcp_nack_pair(&item, i, &pid, &blp);
        CHECK(asked[pid]);
        seen++;
        for (int bit = 0; bit < 16; bit++)
            if (blp >> bit & 1) {
                CHECK(asked[(uint16_t)(pid + bit + 1)]);
                seen++;
            }
    }
    CHECK_EQ(seen, count);
}

static void feedback(void) {
    uint32_t ssrc;
    uint8_t seq;
    uint64_t bps;
    rf_writer w = writer();
    CHECK_EQ(rf_rtcp_write_pli(&w, 1, 7), RF_OK);
    rf_rtcp_item item = only_item(&w);
    CHECK_EQ(rf_rtcp_pli(&item, &ssrc), RF_OK);
    CHECK_EQ(ssrc, 7);
    w = writer();
    CHECK_EQ(rf_rtcp_write_fir(&w, 1, 8, 200), RF_OK);
    item = only_item(&w);
    CHECK_EQ(rf_rtcp_fir(&item, 0, &ssrc, &seq), RF_OK);
    CHECK(ssrc == 8 && seq == 200);
    CHECK_EQ(rf_rtcp_fir(&item, 1, &ssrc, &seq), RF_ETRUNC);
    static const uint64_t rates[] = {0, 1, 262143, 262144, 6000000, 10000000000u};
    for (size_t i = 0; i < 6; i++) {
        uint32_t ssrcs[2] = {3, 4};
        w = writer();
        CHECK_EQ(rf_rtcp_write_remb(&w, 1, rates[i], ssrcs, 2), RF_OK);
        item = only_item(&w);
        CHECK_EQ(rf_rtcp_remb(&item, &bps), RF_OK);
        CHECK(bps <= rates[i] && rates[i] - bps <= rates[i] / 100000);
    }
    CHECK_EQ(rf_rtcp_remb(&(rf_rtcp_item){RF_RTCP_PSFB, 15, buffer, 8}, &bps), RF_ETRUNC);
}

/* An XR with these words behind its head; the SSRC is 5. */
static rf_rtcp_item xr(const uint32_t *words, size_t count) {
    uint8_t *p = buffer;
    p[0] = 0x80;
    p[1] = RF_RTCP_XR;
    p[2] = 0;
    p[3] = (uint8_t)(count + 1);
    memcpy(p + 4, (uint8_t[]){0, 0, 0, 5}, 4);
    for (size_t i = 0; i < count; i++)
        for (int b = 0; b < 4; b++)
            p[8 + 4 * i + (size_t)b] = (uint8_t)(words[i] >> (24 - 8 * b));
    rf_writer w = {buffer, 8 + 4 * count, sizeof buffer};
    return only_item(&w);
}

static void round_trips(void) {
    uint32_t ssrc;
    uint64_t ntp;
    rf_rtcp_item item = xr((uint32_t[]){0x04000002, 0x01234567, 0x89abcdef}, 3);
    CHECK_EQ(rf_rtcp_rrtr(&item, &ssrc, &ntp), RF_OK);
    CHECK(ssrc == 5 && ntp == 0x0123456789abcdefu);
    /* Behind another block, and twice: the last counts. */
    uint32_t many[] = {0x01000001, 0, 0x04000002, 1, 2, 0x04000002, 3, 4};
    item = xr(many, 8);
    CHECK_EQ(rf_rtcp_rrtr(&item, &ssrc, &ntp), RF_OK);
    CHECK_EQ(ntp, 0x300000004u);
    for (size_t words = 0; words < 8; words++) { /* cut within a block: none of it is believed */
        item = xr(many, words);
        int whole = words == 5;
        CHECK_EQ(rf_rtcp_rrtr(&item, &ssrc, &ntp), whole ? RF_OK : RF_ETRUNC);
    }
    item = xr((uint32_t[]){0x04000001, 1}, 2); /* too short for a time */
    CHECK_EQ(rf_rtcp_rrtr(&item, &ssrc, &ntp), RF_ETRUNC);
    item = xr((uint32_t[]){0x0400ffff, 1, 2}, 3);
    CHECK_EQ(rf_rtcp_rrtr(&item, &ssrc, &ntp), RF_ETRUNC);
    item.len = 0;
    CHECK_EQ(rf_rtcp_rrtr(&item, &ssrc, &ntp), RF_ETRUNC);

    static const uint8_t wanted[] = {0x80, 207, 0, 8, 0, 0, 0, 1, 5, 0, 0, 6, 0, 0, 0, 2, 0, 0,
                                     0,    3,   0, 0, 0, 4, 0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 7};
    rf_writer w = writer();
    CHECK_EQ(rf_rtcp_write_dlrr(&w, 1, (rf_dlrr[]){{2, 3, 4}, {5, 6, 7}}, 2), RF_OK);
    CHECK(w.at == sizeof wanted && memcmp(buffer, wanted, sizeof wanted) == 0);
    w.cap = w.at + 23;
    CHECK_EQ(rf_rtcp_write_dlrr(&w, 1, &(rf_dlrr){2, 3, 4}, 1), RF_ENOSPC);
}

static void full_buffers_stay_whole(void) {
    uint32_t ssrcs[2] = {1, 2};
    for (size_t cap = 0; cap < 48; cap++) {
        uint8_t *small = malloc(cap ? cap : 1);
        rf_writer w = {small, 0, cap};
        int rc = rf_rtcp_write_sdes(&w, ssrcs, 2, "someone");
        CHECK(rc == RF_OK ? w.at <= cap : rc == RF_ENOSPC && w.at == 0);
        free(small);
    }
}

static void liars(void) {
    rf_writer w = writer();
    uint32_t ssrc = 1;
    CHECK_EQ(rf_rtcp_write_rr(&w, 1, NULL, 0), RF_OK);
    CHECK_EQ(rf_rtcp_write_sdes(&w, &ssrc, 1, "cname"), RF_OK);
    for (size_t n = 0; n < w.at; n++) {
        rf_rtcp_walk walk;
        uint8_t *p = exact(buffer, n);
        int rc = rf_rtcp_begin(&walk, p, n);
        CHECK(n == 8 ? rc == RF_OK : rc == RF_ETRUNC); /* 8: the RR alone is whole */
        free(p);
    }
    uint64_t seed = 7;
    for (int i = 0; i < 20000; i++) {
        rf_rtcp_walk walk;
        rf_rtcp_item item;
        rf_report_block b;
        rf_sender_info s;
        uint64_t bps;
        uint8_t seq;
        int pairs;
        uint8_t *p = exact(buffer, w.at);
        for (int flips = 0; flips < 3; flips++)
            p[next_random(&seed) % w.at] = (uint8_t)next_random(&seed);
        if (rf_rtcp_begin(&walk, p, w.at) == RF_OK)
            while (rf_rtcp_next(&walk, &item)) {
                for (int k = 0; k < 33; k++)
                    rf_rtcp_report(&item, k, &b);
                rf_rtcp_sender_info(&item, &s);
                rf_rtcp_remb(&item, &bps);
                rf_rtcp_fir(&item, 0, &ssrc, &seq);
                rf_rtcp_rrtr(&item, &ssrc, &bps);
                if (rf_rtcp_nack(&item, &ssrc, &pairs) == RF_OK)
                    for (int k = 0; k < pairs; k++) {
                        uint16_t pid, blp;
                        rf_rtcp_nack_pair(&item, k, &pid, &blp);
                    }
            }
        checks_made++;
        free(p);
    }
}

int main(void) {
    reports();
    for (uint64_t seed = 1; seed < 200; seed++)
        nack_round_trip(seed * 0x9e3779b97f4a7c15u);
    feedback();
    round_trips();
    full_buffers_stay_whole();
    liars();
    return done("rtcp");
}
