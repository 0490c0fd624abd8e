/* Any bytes have a class; a class promises a least length. */
#include "fuzz.h"
#include "wire/classify.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const size_t least[] = {[RF_CLASS_STUN] = 20,
                                   [RF_CLASS_DTLS] = 13,
                                   [RF_CLASS_RTP] = 12,
                                   [RF_CLASS_RTCP] = 8,
                                   [RF_CLASS_SHORT] = 0};
    enum rf_class class = rf_classify(data, size);
    CHECK(class >= RF_CLASS_UNKNOWN && class <= RF_CLASS_SHORT);
    CHECK(size >= least[class]);
    return 0;
}
