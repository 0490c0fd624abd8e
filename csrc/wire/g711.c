/* See g711.h. The tables give, for each output value of one law counted from zero outwards, the
 * number (from 1) of the other law's; a sign's two halves are alike. On the wire A-law has its even
 * bits inverted (0x55), µ-law all of them. */
#include "wire/g711.h"

/* clang-format off */
static const uint8_t mu_of_a[128] = { /* µ-law value of A-law value i + 1, from 0 */
      1,   3,   5,   7,   9,  11,  13,  15,  16,  17,  18,  19,  20,  21,  22,  23,
     24,  25,  26,  27,  28,  29,  30,  31,  32,  32,  33,  33,  34,  34,  35,  35,
     36,  37,  38,  39,  40,  41,  42,  43,  44,  45,  46,  47,  48,  48,  49,  49,
     50,  51,  52,  53,  54,  55,  56,  57,  58,  59,  60,  61,  62,  63,  64,  64,
     65,  66,  67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,  80,
     80,  81,  82,  83,  84,  85,  86,  87,  88,  89,  90,  91,  92,  93,  94,  95,
     96,  97,  98,  99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111,
    112, 113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127,
};

static const uint8_t a_of_mu[128] = { /* A-law value, from 1, of µ-law value i */
      1,   1,   2,   2,   3,   3,   4,   4,   5,   5,   6,   6,   7,   7,   8,   8,
      9,  10,  11,  12,  13,  14,  15,  16,  17,  18,  19,  20,  21,  22,  23,  24,
     25,  27,  29,  31,  33,  34,  35,  36,  37,  38,  39,  40,  41,  42,  43,  44,
     46,  48,  49,  50,  51,  52,  53,  54,  55,  56,  57,  58,  59,  60,  61,  62,
     64,  65,  66,  67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,
     80,  82,  83,  84,  85,  86,  87,  88,  89,  90,  91,  92,  93,  94,  95,  96,
     97,  98,  99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112,
    113, 114, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128,
};
/* clang-format on */

void rf_g711_to_mu(const uint8_t *src, uint8_t *dst, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = (uint8_t)((src[i] | 0x7f) ^ mu_of_a[(src[i] ^ 0x55) & 0x7f]);
}

void rf_g711_to_a(const uint8_t *src, uint8_t *dst, size_t n) {
    for (size_t i = 0; i < n; i++)
        dst[i] = (uint8_t)(((src[i] & 0x80) | 0x55) ^ (a_of_mu[(src[i] ^ 0x7f) & 0x7f] - 1));
}
