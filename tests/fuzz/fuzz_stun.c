/* The ufrag that a STUN message names lies inside the message and holds no colon. */
#include "base/error.h"
#include "fuzz.h"
#include "wire/stun.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *ufrag = NULL;
    size_t len = 0;
    int rc = rf_stun_username(data, size, &ufrag, &len);
    CHECK(rc == RF_OK || rc == RF_ETRUNC);
    if (rc == RF_OK && len > 0) {
        CHECK(fuzz_inside(ufrag, len + 1, data, size));
        CHECK(memchr(ufrag, ':', len) == NULL && ufrag[len] == ':');
    }
    if (size >= 20)
        CHECK(rf_stun_type(data) <= 0xffff);
    return 0;
}
