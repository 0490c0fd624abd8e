/* A whole compound, every item read as everything that it could be; what was understood is written
 * again and reads back the same. */
#include "base/error.h"
#include "fuzz.h"
#include "wire/rtcp.h"

static void nack_back(uint32_t media, const uint16_t *seqs, int count) {
    uint8_t out[2048];
    rf_writer w = {out, 0, sizeof out};
    if (rf_rtcp_write_nack(&w, 1, media, seqs, count) != RF_OK)
        return;
    rf_rtcp_walk walk;
    rf_rtcp_item item;
    uint32_t ssrc;
    int pairs;
    CHECK(rf_rtcp_begin(&walk, out, w.at) == RF_OK && rf_rtcp_next(&walk, &item) == 1);
    CHECK(rf_rtcp_nack(&item, &ssrc, &pairs) == RF_OK && ssrc == media && pairs > 0);
    for (int i = 0, pair = 0; i < count; i++) { /* each number is named by the pair it falls in */
        uint16_t pid, blp;
        rf_rtcp_nack_pair(&item, pair, &pid, &blp);
        uint16_t ahead = (uint16_t)(seqs[i] - pid);
        if (ahead > 16 && ++pair < pairs) {
            rf_rtcp_nack_pair(&item, pair, &pid, &blp);
            ahead = (uint16_t)(seqs[i] - pid);
        }
        CHECK(pair < pairs && (ahead == 0 || (ahead <= 16 && blp >> (ahead - 1) & 1)));
    }
}

static void feedback(const rf_rtcp_item *item) {
    uint32_t ssrc;
    uint64_t bps;
    uint16_t seqs[64];
    int pairs = 0, count = 0;
    uint8_t seq;
    if (item->type == RF_RTCP_RTPFB && rf_rtcp_nack(item, &ssrc, &pairs) == RF_OK) {
        CHECK(pairs >= 0 && (size_t)pairs * 4 + 8 <= item->len);
        for (int i = 0; i < pairs; i++) {
            uint16_t pid, blp;
            rf_rtcp_nack_pair(item, i, &pid, &blp);
            if (count < 64 && (count == 0 || (uint16_t)(pid - seqs[count - 1]) < 100))
                seqs[count++] = pid;
        }
        if (count)
            nack_back(ssrc, seqs, count);
    }
    if (rf_rtcp_rrtr(item, &ssrc, &bps) == RF_OK)
        CHECK(item->type == RF_RTCP_XR && item->len >= 16);
    rf_rtcp_pli(item, &ssrc);
    for (int i = -1; i < 40; i++)
        rf_rtcp_fir(item, i, &ssrc, &seq);
    if (item->type == RF_RTCP_PSFB && rf_rtcp_remb(item, &bps) == RF_OK) {
        uint8_t out[64];
        rf_writer w = {out, 0, sizeof out};
        rf_rtcp_walk walk;
        rf_rtcp_item again;
        uint64_t told;
        CHECK(rf_rtcp_write_remb(&w, 1, bps, &ssrc, 0) == RF_OK);
        CHECK(rf_rtcp_begin(&walk, out, w.at) == RF_OK && rf_rtcp_next(&walk, &again));
        CHECK(rf_rtcp_remb(&again, &told) == RF_OK && told <= bps && bps - told <= bps >> 17);
    }
}

static void reports(const rf_rtcp_item *item) {
    rf_sender_info info;
    rf_report_block blocks[31];
    int count = 0;
    if (rf_rtcp_sender_info(item, &info) == RF_OK)
        CHECK(item->type == RF_RTCP_SR);
    for (int i = -1; i < 33; i++)
        if (rf_rtcp_report(item, i, &blocks[count < 31 ? count : 30]) == RF_OK)
            count++;
    CHECK(count <= item->count);
    if (!count)
        return;
    uint8_t out[1024];
    rf_writer w = {out, 0, sizeof out};
    rf_rtcp_walk walk;
    rf_rtcp_item again;
    rf_report_block b;
    CHECK(rf_rtcp_write_rr(&w, 1, blocks, count) == RF_OK);
    CHECK(rf_rtcp_begin(&walk, out, w.at) == RF_OK && rf_rtcp_next(&walk, &again));
    for (int i = 0; i < count; i++) {
        CHECK(rf_rtcp_report(&again, i, &b) == RF_OK);
        CHECK(b.ssrc == blocks[i].ssrc && b.cumulative_lost == blocks[i].cumulative_lost);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rf_rtcp_walk walk;
    rf_rtcp_item item;
    int rc = rf_rtcp_begin(&walk, data, size);
    CHECK(rc == RF_OK || rc == RF_ETRUNC);
    size_t total = 0;
    while (rf_rtcp_next(&walk, &item)) {
        CHECK(rc == RF_OK && fuzz_inside(item.body, item.len, data, size));
        CHECK(item.count < 32 && item.len % 4 == 0);
        total += item.len + 4;
        if (item.type == RF_RTCP_SR || item.type == RF_RTCP_RR)
            reports(&item);
        feedback(&item);
    }
    CHECK(total <= size);
    return 0;
}
