/* Connectivity checks on tuples that are installed already, the steady load of ICE: Chromium sends
 * one every 2.5 s for ever. Only the plain case is read here; whatever has anything more to it is
 * for the agent in Python (RFC 8489 sections 5 and 14, RFC 8445 section 7.3). */
#ifndef RF_WIRE_STUN_CHECK_H
#define RF_WIRE_STUN_CHECK_H

#include "rtcfwd.h"
#include "wire/sha1.h"

#define RF_STUN_REPLY 80 /* room for a success: 64 bytes with IPv4, 76 with IPv6 */

typedef struct rf_stun_check {
    int use_candidate;
    size_t integrity_at; /* offset of the MESSAGE-INTEGRITY attribute */
} rf_stun_check;

/* 0 for a plain Binding request of a controlling peer: USERNAME, MESSAGE-INTEGRITY, and of the
 * others only PRIORITY, ICE-CONTROLLING, USE-CANDIDATE and what may be ignored. RF_EINVAL for
 * anything else, RF_ETRUNC for what does not parse. */
int rf_stun_check_read(const uint8_t *data, size_t len, rf_stun_check *out);

/* 1 when MESSAGE-INTEGRITY was made with this key. */
int rf_stun_check_verify(const uint8_t *data, const rf_stun_check *c, const rf_hmac_key *key);

/* Binding success with XOR-MAPPED-ADDRESS, MESSAGE-INTEGRITY and FINGERPRINT; returns its length.
 */
size_t rf_stun_write_success(const uint8_t *request, const rf_path *path, const rf_hmac_key *key,
                             uint8_t out[RF_STUN_REPLY]);

#endif
