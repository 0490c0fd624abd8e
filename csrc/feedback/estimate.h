/* What a viewer's way is believed to carry, from its receiver reports (RFC 3550 section 6.4). See
 * estimate.c for the rules, and why REMB (draft-alvestrand-rmcat-remb) has no say in it. */
#ifndef RF_FEEDBACK_ESTIMATE_H
#define RF_FEEDBACK_ESTIMATE_H

#include "model/context.h"
#include "wire/rtcp.h"

/* Bits a second of all that is sent to the viewer, headers down to IP included; UINT64_MAX while
 * nothing speaks against any rate. Its owner's thread. */
uint64_t rf_estimate_bps(const rf_peer *viewer);

/* A rate that it carried until just now: the estimate is not lower. */
void rf_estimate_at_least(rf_peer *viewer, uint64_t bps);

/* By how much such a round trip is longer than the way's own. */
uint64_t rf_estimate_excess(const rf_way *w, uint64_t rtt_ns);

/* A report on one of its tracks. rtt_ns: the round trip that it told, 0: none. */
void rf_estimate_report(rf_ctx *x, rf_peer *p, int kind, const rf_report_block *b, uint64_t rtt_ns);
/* Its video's way loses 2 % or more, by whatever cause, or did in the last 20 s. */
int rf_estimate_is_lossy(const rf_ctx *x, const rf_view *v);
/* What a viewer gets of the video from now on; the same, told to the control plane alone. */
void rf_estimate_slow(rf_ctx *x, rf_peer *p, enum rf_slow slow);
void rf_slow_tell(rf_ctx *x, rf_peer *p, enum rf_slow slow);
/* Now and then: video that pauses is tried again, even where nothing is reported meanwhile. */
void rf_estimate_retry(rf_ctx *x, rf_peer *p);
void rf_estimate_remb(rf_ctx *x, rf_peer *p, uint64_t bps);

/* breaker.c, twice a second: reports that fail, or that say that nothing arrives. */
void rf_breaker_watch(rf_ctx *x, rf_peer *p);
/* May video go again that the breaker has stopped? */
int rf_breaker_is_closed(const rf_ctx *x, const rf_peer *p);

#endif
