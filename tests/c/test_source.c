/* Which address the kernel sends from by itself, and that a change of addresses is told; a pool's
 * objects. In a network namespace of its own where that is allowed. */
#include "test.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/pool.h"
#include "net/source.h"

static rf_path path(uint32_t local, uint32_t remote) {
    rf_path p;
    memset(&p, 0, sizeof p);
    p.local_ip[10] = p.local_ip[11] = p.remote_ip[10] = p.remote_ip[11] = 0xff;
    for (int i = 0; i < 4; i++) {
        p.local_ip[12 + i] = (uint8_t)(local >> (24 - 8 * i));
        p.remote_ip[12 + i] = (uint8_t)(remote >> (24 - 8 * i));
    }
    p.remote_port = 9;
    return p;
}

static void loopback_up(int up) {
    struct ifreq r;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    CHECK(fd >= 0);
    memset(&r, 0, sizeof r);
    memcpy(r.ifr_name, "lo", 3);
    CHECK_EQ(ioctl(fd, SIOCGIFFLAGS, &r), 0);
    r.ifr_flags = (short)(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
    CHECK_EQ(ioctl(fd, SIOCSIFFLAGS, &r), 0);
    close(fd);
}

static void the_kernels_choice_is_known(void) {
    rf_path own = path(0x7f000001, 0x7f000001), other = path(0x7f000002, 0x7f000001);
    CHECK_EQ(rf_source_is_default(AF_INET6, &own), 1);
    CHECK_EQ(rf_source_is_default(AF_INET, &own), 1);
    CHECK_EQ(rf_source_is_default(AF_INET6, &other), 0);
    rf_path six;
    memset(&six, 0, sizeof six);
    six.remote_ip[15] = six.local_ip[15] = 1; /* ::1 */
    six.remote_port = 9;
    CHECK_EQ(rf_source_is_default(AF_INET, &six), 0);
    six.local_ip[15] = 2;
    CHECK_EQ(rf_source_is_default(AF_INET6, &six), 0);
}

static void a_change_is_told(void) {
    if (unshare(CLONE_NEWNET)) {
        printf("no network namespace: %s\n", strerror(errno));
        return;
    }
    int watch = rf_source_watch();
    CHECK(watch >= 0);
    CHECK_EQ(rf_source_changed(watch), 0);
    rf_path own = path(0x7f000001, 0x7f000001);
    loopback_up(1);
    CHECK_EQ(rf_source_changed(watch), 1);
    CHECK_EQ(rf_source_changed(watch), 0);
    CHECK_EQ(rf_source_is_default(AF_INET6, &own), 1);
    loopback_up(0);
    CHECK_EQ(rf_source_changed(watch), 1);
    close(watch);
}

static void a_pools_objects_are_zeroed_and_apart(void) {
    enum { MANY = 40000 };
    static uint8_t *object[MANY];
    rf_pool pool;
    rf_pool_init(&pool, 100);
    CHECK_EQ(pool.object, 128);
    for (int i = 0; i < MANY; i++) {
        object[i] = rf_pool_take(&pool);
        CHECK(object[i] != NULL && (uintptr_t)object[i] % 64 == 0);
        for (int k = 0; k < 128; k++)
            CHECK(object[i][k] == 0);
        memset(object[i], i & 0xff, 128);
    }
    for (int i = 0; i < MANY; i++) {
        CHECK(object[i][0] == (i & 0xff) && object[i][127] == (i & 0xff));
        rf_pool_give(&pool, object[i]);
    }
    uint8_t *again = rf_pool_take(&pool);
    CHECK(again[0] == 0 && again[127] == 0);
    rf_pool_give(&pool, again);
    rf_pool_give(&pool, NULL);
    rf_pool_close(&pool);
}

int main(void) {
    a_pools_objects_are_zeroed_and_apart();
    the_kernels_choice_is_known();
    a_change_is_told();
    return done("source");
}
