/* Header extensions: what is found lies inside the block, and what is built from it reads back.
 * Input: profile (2), the ids' seed (1), the block. */
#include "fuzz.h"
#include "wire/hdrext.h"

enum { MAX = 32 };

static void round_trip(const rf_ext_item *items, int count, uint8_t seed) {
    uint8_t id_of[RF_EXT_COUNT] = {0};
    rf_ext_map map = {{0}};
    for (int kind = 1; kind < RF_EXT_COUNT; kind++) {
        uint8_t id = (uint8_t)(seed % 3 ? kind % 14 + 1 : 200 + kind);
        if (seed % 3 == 1 && kind == seed % RF_EXT_COUNT)
            id = 0; /* not negotiated */
        if (seed % 3 && kind == 14)
            id = 0; /* would share an id with kind 0's place */
        id_of[kind] = id;
        if (id)
            map.kind_of[id] = (uint8_t)kind;
    }
    size_t cap = seed > 128 ? 16 : 4 + 257 * MAX + 4;
    uint8_t *out = malloc(cap);
    int n = rf_ext_build(items, count, id_of, out, cap);
    if (n > 0) {
        CHECK((size_t)n <= cap && n % 4 == 0);
        rf_ext_item again[MAX];
        size_t words = (size_t)(out[2] << 8 | out[3]);
        CHECK(4 + words * 4 == (size_t)n);
        int back =
            rf_ext_parse((uint16_t)(out[0] << 8 | out[1]), out + 4, words * 4, &map, again, MAX);
        int at = 0;
        for (int i = 0; i < count; i++) {
            if (!id_of[items[i].kind])
                continue;
            CHECK(at < back && again[at].kind == items[i].kind && again[at].len == items[i].len);
            CHECK(!items[i].len || memcmp(again[at].data, items[i].data, items[i].len) == 0);
            at++;
        }
        CHECK(at == back);
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3)
        return 0;
    rf_ext_map map;
    for (int id = 0; id < 256; id++)
        map.kind_of[id] = (uint8_t)(id % (RF_EXT_COUNT + 1)); /* one kind too many on purpose */
    rf_ext_item items[MAX];
    size_t len = size - 3;
    uint8_t *block = malloc(len ? len : 1);
    memcpy(block, data + 3, len);
    uint16_t profile = (uint16_t)(data[0] << 8 | data[1]);
    profile = data[2] & 1 ? 0xbede : data[2] & 2 ? (uint16_t)(0x1000 | (profile & 15)) : profile;
    int count = rf_ext_parse(profile, block, len, &map, items, MAX);
    CHECK(count >= 0 && count <= MAX);
    for (int i = 0; i < count; i++) {
        CHECK(items[i].kind > RF_EXT_NONE && items[i].kind < RF_EXT_COUNT);
        CHECK(fuzz_inside(items[i].data, items[i].len, block, len));
    }
    round_trip(items, count, data[2]);
    free(block);
    return 0;
}
