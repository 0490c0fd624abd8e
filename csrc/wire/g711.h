/* G.711 from one law to the other (ITU-T G.711, tables 3 and 4): code word by code word, so that a
 * packet keeps its length, its timestamp and its marker (RFC 3551 section 4.5.14). Not by way of
 * linear samples: the recommendation's own tables lose nothing more than the laws differ by. */
#ifndef RF_WIRE_G711_H
#define RF_WIRE_G711_H

#include <stddef.h>
#include <stdint.h>

/* n code words of src, in the other law, to dst; they may be the same memory. */
void rf_g711_to_mu(const uint8_t *src, uint8_t *dst, size_t n); /* A-law to µ-law, table 4 */
void rf_g711_to_a(const uint8_t *src, uint8_t *dst, size_t n);  /* µ-law to A-law, table 3 */

#endif
