/* Connectivity checks that are answered without Python: what is read lies inside the message, an
 * answer is sound STUN, and only the right key verifies. The seeds were made with this password. */
#include "base/error.h"
#include "fuzz.h"
#include "wire/stun.h"
#include "wire/stun_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char password[] = "a password of some length";
    static const rf_path path = {.remote_ip = {0x20, 1, 0xd, 0xb8}, .remote_port = 4711};
    rf_stun_check check;
    rf_hmac_key right, wrong;
    rf_hmac_key_init(&right, (const uint8_t *)password, sizeof password - 1);
    rf_hmac_key_init(&wrong, (const uint8_t *)password, sizeof password - 2);
    int rc = rf_stun_check_read(data, size, &check);
    CHECK(rc == RF_OK || rc == RF_ETRUNC || rc == RF_EINVAL);
    if (rc == RF_OK) {
        const uint8_t *ufrag;
        size_t len;
        CHECK(check.integrity_at >= 20 && check.integrity_at + 24 <= size);
        CHECK(rf_stun_username(data, size, &ufrag, &len) != RF_OK || len > 0);
        if (rf_stun_check_verify(data, &check, &right))
            CHECK(!rf_stun_check_verify(data, &check, &wrong));
    }
    if (size >= 20) {
        uint8_t reply[RF_STUN_REPLY];
        const uint8_t *ufrag;
        size_t len, n = rf_stun_write_success(data, &path, &right, reply);
        CHECK(n <= sizeof reply && n % 4 == 0);
        if (memcmp(data + 4, "\x21\x12\xa4\x42", 4) == 0)
            CHECK(rf_stun_username(reply, n, &ufrag, &len) == RF_OK && len == 0);
        CHECK(rf_stun_type(reply) == 0x0101);
    }
    return 0;
}
