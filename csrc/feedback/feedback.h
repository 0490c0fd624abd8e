/* RTCP, both ways: what comes in from a peer, and what each kind of peer is told. One file a duty:
 *
 *   rtcp_in.c           a peer's compound packet, dispatched
 *   estimate.c          what a viewer's way carries, and how much of the video it gets (estimate.h)
 *   breaker.c           where reports fail, or say that nothing arrives
 *   nack.c              a viewer asks again: answered from the log
 *   again.c             … more than once, where much is lost
 *   gaps.c              we ask the publisher again
 *   keyframe_request.c  viewers' wishes merged into PLI or FIR upstream
 *   twcc.c              when the publisher's packets came, told to it
 *   playout.c           how long a viewer should wait before it shows a picture
 *   xr.c                a receiver asks for its round trip
 *   reports.c           SR to viewers, RR and REMB to the publisher, BYE
 */
#ifndef RF_FEEDBACK_FEEDBACK_H
#define RF_FEEDBACK_FEEDBACK_H

#include "model/context.h"
#include "wire/rtcp.h"

/* A decrypted, authenticated compound. */
void rf_rtcp_in(rf_ctx *x, rf_peer *p, const uint8_t *data, uint32_t len);

/* NACK from a viewer for `pairs` of (PID, BLP). */
void rf_nack_answer(rf_ctx *x, rf_peer *p, const rf_rtcp_item *item);
/* One more copy of a packet that was sent again, and `copies` - 1 after it; 0: the answer itself,
 * which had to wait. */
void rf_nack_copy(rf_ctx *x, rf_peer *p, int kind, uint64_t out_seq, int copies);
void rf_again_later(rf_ctx *x, const rf_peer *p, int kind, uint64_t out_seq, int copies);
void rf_again_now(rf_ctx *x); /* every tick: what is due */

/* ext of a source has arrived (not by RTX: rtx 0); notes new gaps and closes old ones. Call before
 * highest_ext moves. 1: so much is missing that only a key frame helps. */
int rf_gaps_note(rf_source *s, uint64_t ext, uint64_t now_ns);
/* How many numbers just before ext are missing, at most `most`. */
uint64_t rf_gaps_before(const rf_source *s, uint64_t ext, uint64_t most);
/* Forgets the gaps outside of [first, end). */
void rf_gaps_keep(rf_source *s, uint64_t first, uint64_t end);
/* Every tick: NACKs that are due. */
void rf_gaps_ask(rf_ctx *x, rf_peer *p, int log);

/* A packet with this transport-wide number came. */
void rf_twcc_note(rf_arrivals *a, uint16_t number, uint64_t at_ns);
/* Every tick: feedback on what came since the last; when due. */
void rf_twcc_report(rf_ctx *x, rf_peer *p);

/* A viewer (or the control plane) wants a key frame of this log; any worker. */
void rf_keyframe_want(rf_ctx *x, rf_stream *s, int log);
/* One came. */
void rf_keyframe_have(rf_stream *s, int log);
/* For the figures: was it an answer to what was asked? */
void rf_keyframe_came(const rf_ctx *x, rf_source *s, rf_track *t);
/* A viewer that wishes for one gets the newest in the log and what came since: once soon after its
 * start, and at most every 5 s where the publisher ignores requests. */
void rf_keyframe_replay(rf_ctx *x, rf_peer *p);
/* Every tick, by the owner: PLI or FIR if one is wanted and the last is long enough ago. */
void rf_keyframe_ask(rf_ctx *x, rf_peer *p);

/* What feedback to a publisher begins with: an empty RR and SDES (RFC 3550), or nothing where
 * reduced size was negotiated (RFC 5506). RF_OK or RF_ERANGE. */
int rf_feedback_begin(rf_writer *w, const rf_pub *pub);

/* Sends about so many bytes of the newest video again as RTX, whoever asked or not: for a viewer
 * that has RTX. Returns how many. */
size_t rf_nack_probe(rf_ctx *x, rf_peer *p, size_t bytes);

/* A viewer's tick: its playout-delay, told anew when it should be another. */
void rf_playout_tick(rf_ctx *x, rf_peer *p);

/* XR from either kind of peer: a receiver's reference time is noted … */
void rf_xr_note(rf_ctx *x, rf_peer *p, const rf_rtcp_item *item);
/* … and answered: after each compound and at each of the peer's ticks, when one may be. */
void rf_xr_answer(rf_ctx *x, rf_peer *p);

/* RTCP sender report of the publisher. */
void rf_clock_sr_in(rf_ctx *x, rf_peer *p, const rf_sender_info *sr);
/* A packet came, not by RTX: our time minus its timestamp, in ticks. */
void rf_clock_transit(rf_source *s, uint32_t transit);
/* Every tick, and every second, of a publisher. */
void rf_clock_tick(rf_ctx *x, rf_peer *p);
void rf_clock_second(rf_ctx *x, rf_peer *p);
/* RR + SDES, REMB; when due. */
void rf_report_publisher(rf_ctx *x, rf_peer *p);
/* SR + SDES for each active track; when due. */
void rf_report_viewer(rf_ctx *x, rf_peer *p);
/* The same out of turn, at most three times a second. */
void rf_report_now(rf_ctx *x, rf_peer *p);
void rf_report_bye(rf_ctx *x, rf_peer *p);

#endif
