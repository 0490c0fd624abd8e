/* Header extensions (RFC 8285): both forms read, written, and read again; cut short without harm.
 */
#include "base/error.h"
#include "test.h"
#include "wire/hdrext.h"

static void one_byte_form(void) {
    static const uint8_t block[] = {0x10, 'm', 0, 0x32, 1, 2, 3, 0xF0, 9, 9, 9, 9};
    rf_ext_map map;
    rf_ext_item items[4];
    memset(&map, 0, sizeof map);
    map.kind_of[1] = RF_EXT_MID;
    map.kind_of[3] = RF_EXT_PLAYOUT_DELAY;
    map.kind_of[15] = RF_EXT_RID; /* id 15 ends the walk, whatever was negotiated */
    int n = rf_ext_parse(0xBEDE, block, sizeof block, &map, items, 4);
    CHECK_EQ(n, 2);
    CHECK_EQ(items[0].kind, RF_EXT_MID);
    CHECK_EQ(items[0].len, 1);
    CHECK_EQ(items[1].kind, RF_EXT_PLAYOUT_DELAY);
    CHECK_EQ(items[1].len, 3);
    CHECK_EQ(items[1].data[2], 3);
    CHECK_EQ(rf_ext_parse(0xBEDE, block, sizeof block, &map, items, 1), 1);
    CHECK_EQ(rf_ext_parse(0x1234, block, sizeof block, &map, items, 4), 0);
}

static void cut_blocks(void) {
    static const uint8_t block[] = {0x3F, 1, 2, 3}; /* says 16 bytes, has 3 */
    rf_ext_map map;
    rf_ext_item items[4];
    memset(&map, RF_EXT_MID, sizeof map);
    for (size_t n = 0; n <= sizeof block; n++) {
        uint8_t *p = exact(block, n);
        CHECK_EQ(rf_ext_parse(0xBEDE, p, n, &map, items, 4), 0);
        int two = rf_ext_parse(0x1000, p, n, &map, items, 4);
        CHECK(two >= 0 && two <= 1);
        free(p);
    }
}

static void round_trip(uint64_t seed) {
    rf_ext_item items[5], back[5];
    uint8_t data[5][255], id_of[RF_EXT_COUNT] = {0}, out[1400];
    rf_ext_map map;
    memset(&map, 0, sizeof map);
    int count = (int)(next_random(&seed) % 5) + 1, wide = (int)(next_random(&seed) & 1);
    for (int i = 0; i < count; i++) {
        items[i].kind = (uint8_t)(RF_EXT_AUDIO_LEVEL + i);
        items[i].len = (uint8_t)(wide ? next_random(&seed) % 256 : next_random(&seed) % 16 + 1);
        items[i].data = data[i];
        for (int b = 0; b < items[i].len; b++)
            data[i][b] = (uint8_t)next_random(&seed);
        id_of[items[i].kind] = (uint8_t)(wide ? 200 + i : 1 + i);
        map.kind_of[id_of[items[i].kind]] = items[i].kind;
    }
    int n = rf_ext_build(items, count, id_of, out, sizeof out);
    CHECK(n > 0 && n % 4 == 0);
    CHECK_EQ((out[2] << 8 | out[3]) * 4 + 4, n);
    uint16_t profile = (uint16_t)(out[0] << 8 | out[1]);
    CHECK_EQ(rf_ext_parse(profile, out + 4, (size_t)n - 4, &map, back, 5), count);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(back[i].kind, items[i].kind);
        CHECK_EQ(back[i].len, items[i].len);
        CHECK(memcmp(back[i].data, items[i].data, items[i].len) == 0);
    }
    for (int cap = 0; cap < n; cap += 3) {
        uint8_t *small = exact(out, (size_t)cap);
        CHECK_EQ(rf_ext_build(items, count, id_of, small, (size_t)cap), RF_ENOSPC);
        free(small);
    }
}

static void nothing_negotiated(void) {
    uint8_t id_of[RF_EXT_COUNT] = {0}, out[8], value = 1;
    rf_ext_item item = {RF_EXT_MID, 1, &value};
    CHECK_EQ(rf_ext_build(&item, 1, id_of, out, sizeof out), 0);
    CHECK_EQ(rf_ext_build(NULL, 0, id_of, out, 0), 0);
    CHECK(rf_ext_uri(RF_EXT_NONE) == NULL);
    CHECK(rf_ext_uri(RF_EXT_COUNT) == NULL);
    CHECK(strcmp(rf_ext_uri(RF_EXT_MID), "urn:ietf:params:rtp-hdrext:sdes:mid") == 0);
}

int main(void) {
    one_byte_form();
    cut_blocks();
    for (uint64_t seed = 1; seed <= 300; seed++)
        round_trip(seed * 0x9e3779b97f4a7c15u);
    nothing_negotiated();
    return done("hdrext");
}
