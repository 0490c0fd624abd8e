/* What the fuzz targets share. Input is copied to a block of its exact size, so that ASan sees a
 * read of one byte too many; CHECK turns a broken promise into a crash. */
#ifndef RF_FUZZ_H
#define RF_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #x);                         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Is [p, p + n) inside [data, data + size)? */
static inline int fuzz_inside(const uint8_t *p, size_t n, const uint8_t *data, size_t size) {
    return p >= data && n <= size && (size_t)(p - data) <= size - n;
}

#endif
