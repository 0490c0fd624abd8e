/* What a viewer's way is believed to carry, from its receiver reports (RFC 3550 section 6.4) and,
 * to corroborate them, REMB (draft-alvestrand-rmcat-remb). See estimate.c for the rules. */
#ifndef RF_FEEDBACK_ESTIMATE_H
#define RF_FEEDBACK_ESTIMATE_H

#include "model/context.h"
#include "wire/rtcp.h"

/* Bits a second of all that is sent to the viewer, headers down to IP included; UINT64_MAX while
 * nothing speaks against any rate. Its owner's thread. */
uint64_t rf_estimate_bps(const rf_peer *viewer);

/* A report on one of its tracks. rtt_ns: the round trip that it told, 0: none. */
void rf_estimate_report(rf_ctx *x, rf_peer *p, int kind, const rf_report_block *b, uint64_t rtt_ns);
void rf_estimate_remb(rf_ctx *x, rf_peer *p, uint64_t bps);

#endif
