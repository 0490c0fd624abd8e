/* The packets of tests/vectors/wire: a file named bad-* is refused by its parser, key-* begins a
 * key frame, every other one is taken and is none. */
#include <dirent.h>

#include "base/error.h"
#include "test.h"
#include "wire/keyframe.h"
#include "wire/rtcp.h"
#include "wire/rtp.h"
#include "wire/stun.h"

typedef int (*judge)(const char *name, const uint8_t *data, size_t len); /* 1: taken */

static int starts_with(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static int judge_rtp(const char *name, const uint8_t *data, size_t len) {
    rf_rtp rtp;
    (void)name;
    return rf_rtp_parse(data, len, &rtp) == RF_OK;
}

static int judge_stun(const char *name, const uint8_t *data, size_t len) {
    const uint8_t *ufrag;
    size_t ufrag_len;
    int rc = rf_stun_username(data, len, &ufrag, &ufrag_len);
    if (rc == RF_OK && !starts_with(name, "no-username"))
        CHECK(ufrag_len > 0);
    return rc == RF_OK;
}

static int judge_rtcp(const char *name, const uint8_t *data, size_t len) {
    rf_rtcp_walk walk;
    rf_rtcp_item item;
    int items = 0, rc = rf_rtcp_begin(&walk, data, len);
    (void)name;
    while (rf_rtcp_next(&walk, &item))
        items++;
    CHECK_EQ(items > 0, rc == RF_OK);
    return rc == RF_OK;
}

static int judge_keyframe(const char *name, const uint8_t *data, size_t len) {
    unsigned flags = rf_payload_inspect((enum rf_codec)data[0], data + 1, len - 1);
    if (flags & RF_PAYLOAD_MALFORMED)
        return 0;
    if (!(flags & RF_PAYLOAD_KEY) != !starts_with(name, "key-"))
        fprintf(stderr, "%s: flags %u\n", name, flags);
    CHECK_EQ((flags & RF_PAYLOAD_KEY) != 0, starts_with(name, "key-"));
    CHECK_EQ((flags & RF_PAYLOAD_DISCARDABLE) != 0, strstr(name, "discardable") != NULL);
    return 1;
}

static void one(const char *folder, const char *name, judge taken) {
    char path[512];
    uint8_t data[4096];
    snprintf(path, sizeof path, "../vectors/wire/%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    CHECK(f != NULL);
    size_t len = fread(data, 1, sizeof data, f);
    fclose(f);
    uint8_t *p = exact(data, len);
    int got = taken(name, p, len);
    if (got == starts_with(name, "bad-"))
        fprintf(stderr, "%s: taken: %d\n", path, got);
    CHECK_EQ(got, !starts_with(name, "bad-"));
    free(p);
}

static void all(const char *folder, judge taken) {
    char path[512];
    int count = 0;
    snprintf(path, sizeof path, "../vectors/wire/%s", folder);
    DIR *d = opendir(path);
    CHECK(d != NULL);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        one(folder, e->d_name, taken);
        count++;
    }
    closedir(d);
    CHECK(count > 5);
}

int main(void) {
    all("rtp", judge_rtp);
    all("stun", judge_stun);
    all("rtcp", judge_rtcp);
    all("keyframe", judge_keyframe);
    return done("vectors");
}
