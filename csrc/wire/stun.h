/* The one thing the data plane reads of STUN: whose ufrag a Binding message names (RFC 8489
 * sections 5 and 14.3; RFC 8445 section 7.2.2: USERNAME is "<receiver's ufrag>:<sender's ufrag>").
 */
#ifndef RF_WIRE_STUN_H
#define RF_WIRE_STUN_H

#include <stddef.h>
#include <stdint.h>

/* Checks the magic cookie and the lengths, walks the attributes, and points *ufrag at the bytes
 * before the colon. Returns 0; RF_ETRUNC when malformed; *ufrag_len 0 when there is no USERNAME
 * (a Binding response or indication). */
int rf_stun_username(const uint8_t *data, size_t len, const uint8_t **ufrag, size_t *ufrag_len);

/* Message type, 14 bits (0x0001 Binding request, 0x0101 success, …). Needs 20 bytes. */
uint16_t rf_stun_type(const uint8_t *data);

#endif
