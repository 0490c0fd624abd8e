/* What a C test needs: CHECK, and a main that counts. A failed check says where and ends the run.
 */
#ifndef RF_TESTS_TEST_H
#define RF_TESTS_TEST_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int checks_made;

#define CHECK(what)                                                                                \
    do {                                                                                           \
        checks_made++;                                                                             \
        if (!(what)) {                                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what);                     \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        long long left_ = (long long)(a), right_ = (long long)(b);                                 \
        checks_made++;                                                                             \
        if (left_ != right_) {                                                                     \
            fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #a, left_,        \
                    right_);                                                                       \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* A heap copy of exactly n bytes, so that ASan sees a read past the end. Free it. */
static inline uint8_t *exact(const void *data, size_t n) {
    uint8_t *p = malloc(n ? n : 1);
    CHECK(p != NULL);
    if (n)
        memcpy(p, data, n);
    return p;
}

/* A small deterministic generator (xorshift), seeded by the test. */
static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline int done(const char *name) {
    printf("%s: %d checks\n", name, checks_made);
    return checks_made ? 0 : 1;
}

#endif
