/* Every codec's payload reader. Input: codec (1), payload. */
#include "fuzz.h"
#include "wire/keyframe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *payload = malloc(len ? len : 1);
    memcpy(payload, data + 1, len);
    enum rf_codec codec = (enum rf_codec)(data[0] % (RF_CODEC_PCMA + 1));
    unsigned flags = rf_payload_inspect(codec, payload, len);
    CHECK(flags < 32);
    if (flags & (RF_PAYLOAD_IDR | RF_PAYLOAD_PARAMS))
        CHECK(flags & RF_PAYLOAD_KEY);
    size_t sps_len = 0;
    const uint8_t *sps = rf_h264_find_sps(payload, len, &sps_len);
    if (sps) {
        CHECK(sps_len > 0 && fuzz_inside(sps, sps_len, payload, len));
        CHECK((sps[0] & 0x1f) == 7);
        flags = rf_payload_inspect(RF_CODEC_H264, payload, len);
        CHECK(flags & (RF_PAYLOAD_PARAMS | RF_PAYLOAD_MALFORMED));
    }
    free(payload);
    return 0;
}
