/* A parsed RTP packet's parts lie one behind the other and add up to the packet. */
#include "base/cursor.h"
#include "base/error.h"
#include "fuzz.h"
#include "wire/rtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    rf_rtp r;
    int rc = rf_rtp_parse(data, size, &r);
    CHECK(rc == RF_OK || rc == RF_ETRUNC);
    if (rc != RF_OK)
        return 0;
    size_t head = RF_RTP_HEADER + r.csrc_count * 4u + (r.ext ? 4 + r.ext_len : 0);
    CHECK(head + r.payload_len + r.padding == size);
    CHECK(r.payload == data + head);
    CHECK(r.ext_len % 4 == 0 && (!r.ext || fuzz_inside(r.ext, r.ext_len, data, size)));
    CHECK(r.ssrc == rf_peek32(data + 8));
    return 0;
}
