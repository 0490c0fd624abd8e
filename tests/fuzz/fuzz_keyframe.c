/* Every codec's payload reader. Input: codec (1), payload. */
#include "fuzz.h"
#include "wire/h265.h"
#include "wire/keyframe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1)
        return 0;
    size_t len = size - 1;
    uint8_t *payload = malloc(len ? len : 1);
    memcpy(payload, data + 1, len);
    enum rf_codec codec = (enum rf_codec)(data[0] % (RF_CODEC_PCMA + 1));
    unsigned flags = rf_payload_inspect(codec, payload, len);
    CHECK(flags < 64);
    if (flags & (RF_PAYLOAD_IDR | RF_PAYLOAD_PARAMS))
        CHECK(flags & RF_PAYLOAD_KEY);
    uint16_t width = 1, height = 1;
    if (rf_payload_size(codec, payload, len, &width, &height))
        CHECK(width > 0 && height > 0);
    rf_nals nals = rf_nals_of(payload, len);
    const uint8_t *nal;
    for (size_t n; (nal = rf_nals_next(&nals, &n));) {
        CHECK(n > 0 && fuzz_inside(nal, n, payload, len));
        int of;
        rf_h264_pps_id(nal, n, &of);
        rf_h264_sps_id(nal, n);
        rf_h264_size(nal, n, &width, &height);
        if ((nal[0] & 0x1f) == RF_NAL_SPS)
            CHECK(rf_payload_inspect(RF_CODEC_H264, payload, len) & RF_PAYLOAD_PARAMS);
    }
    nals = rf_h265_nals_of(payload, len);
    for (size_t n; (nal = rf_nals_next(&nals, &n));) {
        int of;
        CHECK(n > 0 && fuzz_inside(nal, n, payload, len));
        rf_h265_pps_id(nal, n, &of);
        rf_h265_sps_id(nal, n, &of);
    }
    free(payload);
    return 0;
}
