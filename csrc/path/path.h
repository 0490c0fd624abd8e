/* The packet's way, one function a stage; each file in this folder is one of them.
 *
 *   ingress -> demux -> unprotect -> append -> fanout -> (start) -> rewrite -> egress
 *                 \-> punt                        \-> feedback/nack also ends in egress
 */
#ifndef RF_PATH_PATH_H
#define RF_PATH_PATH_H

#include "model/context.h"
#include "wire/classify.h"
#include "wire/rtp.h"

/* ingress.c: takes what has arrived, at most one batch; returns how many. They stay valid until the
 * next call. */
int rf_ingress(rf_ctx *x, rf_datagram batch[RF_NET_BATCH]);

/* demux.c: one datagram to its stage; a stranger's to its owner. */
void rf_demux(rf_ctx *x, rf_datagram *d);
void rf_mail_in(rf_ctx *x, size_t max); /* datagrams that other workers passed on */

/* consent.c: 1 when the check from an installed tuple was answered here. */
int rf_consent(rf_ctx *x, rf_handle peer, const uint8_t *ufrag, size_t len, const rf_datagram *d);

/* punt.c: up to the control plane, bounded; 0 or the drop is counted. */
void rf_punt_up(rf_ctx *x, enum rf_event_type type, rf_handle peer, rf_path_entry *known,
                const rf_datagram *d);
/* Notices that are not essential are dropped when the queue is half full: 0. */
int rf_notify(rf_ctx *x, enum rf_event_type type, int kind, const rf_peer *peer,
              const rf_stream *stream, const uint8_t *data, size_t len, int essential);

/* unprotect.c: media of a peer that this worker owns. data has room for SRTP trailers. */
void rf_media_in(rf_ctx *x, rf_handle peer, enum rf_class class, uint8_t *data, uint32_t len);
void rf_early_replay(rf_ctx *x, const rf_peer *p);

/* append.c: a decrypted RTP packet of a publisher into its track's log. */
void rf_append(rf_ctx *x, rf_peer *p, const uint8_t *data, uint32_t len);
/* Bytes of padding that a video packet gets, so that neighbours of one frame are alike; 0: none. */
uint8_t rf_even_padding(rf_even *e, uint32_t ts, size_t payload_len);

/* start.c: a burst is on its way, or was lately. */
int rf_view_is_catching_up(const rf_ctx *x, const rf_view *v, int kind);
/* May so many bytes of a start burst leave now? */
int rf_view_may_pace(const rf_ctx *x, rf_view *v, size_t bytes);
/* The viewer misses `lost` packets of its burst: half or a quarter of the pace, an eighth at last.
 */
void rf_view_slow_down(const rf_ctx *x, rf_view *v, int lost);
/* A viewer's video begins once more, at the newest key frame in the log. 0: not now, the socket is
 * full. */
int rf_view_anew(rf_ctx *x, rf_peer *p);

/* Its video goes on under the payload type in `v->retype`, from the newest key frame in the log on:
 * at once, or from timers when the socket is full. */
void rf_view_retype(rf_ctx *x, rf_peer *p);

/* parameters.c: H264's and H265's parameter sets of one source. */
enum {
    RF_PARAMETERS_SPS = 1, /* the SPS is another than before */
    RF_PARAMETERS_LATE = 2 /* other sets stand before this key frame already */
};
/* Remembers those of a payload, and says what that changes. */
unsigned rf_parameters_note(rf_parameters *c, uint8_t codec, uint64_t ext, uint32_t ts,
                            const uint8_t *payload, size_t len);
/* How many sets the access unit with this timestamp lacks, in the order in which they belong before
 * its first slice, which has come. 0: none, or it has been dealt with; -1, once: some, not known.
 */
int rf_parameters_missing(rf_parameters *c, uint8_t codec, uint64_t ext, uint32_t ts,
                          const rf_parameter_set *missing[RF_SETS]);
/* Another source of the same publication: what is known stays, numbers begin anew. */
void rf_parameters_restart(rf_parameters *c);
/* Those of an offer, each behind its length in 16 bits. */
void rf_parameters_offered(rf_parameters *c, uint8_t codec, const uint8_t *sets, size_t len);

/* layer.c: simulcast. */
/* By the publisher's owner, now and then: which layers are on the air, and which is whose. */
void rf_layers_rank(rf_ctx *x, rf_peer *p);
/* No simulcast, or not any more. */
void rf_layers_reset(rf_stream *s, int layers);
/* Moves a viewer's cursor to the layer that it should get, where a key frame allows it; 0: it must
 * wait for the first layer of all. */
int rf_layer_follow(rf_ctx *x, const rf_sub *sub, rf_peer *p);

/* fanout.c: viewers' new packets into the slab, until `deadline_ns`; 1 when more is to do. */
int rf_fanout(rf_ctx *x, uint64_t deadline_ns);
rf_sub *rf_sub_of(rf_ctx *x, const rf_stream *s);
int rf_sub_add(rf_ctx *x, rf_peer *viewer);
void rf_sub_remove(rf_ctx *x, rf_peer *viewer);

/* start.c */
/* Is the way from the key frame at `index` to `head` longer than the wait for the next key frame,
 * or longer than allowed? */
int rf_view_is_far(const rf_ctx *x, const rf_track *t, uint64_t index, uint64_t head);
/* Begins at a key frame of the log: a burst, or a poster where the backlog is too long. */
void rf_view_from_key(rf_ctx *x, rf_peer *p, rf_track *t, uint64_t head, uint64_t index,
                      uint64_t seq);
/* Where a viewer begins or goes on after a gap; 1 when there is something to send. */
int rf_view_begin(rf_ctx *x, rf_peer *p, rf_track *t, int kind, uint64_t low, uint64_t head);

/* layer_fit.c: twice a second, the layer of a viewer that chose none; tells which one it gets. */
void rf_layer_fit(rf_ctx *x, rf_peer *p);

/* layer_probe.c: now and then, does its way carry so many bits a second? Tries it with resends. */
void rf_layer_probe(rf_ctx *x, rf_peer *p, uint64_t bps);
/* A report has told this round trip. 1: it was measured behind a probe, and tells of nothing else.
 */
int rf_layer_probed(rf_peer *p, uint32_t lsr, uint64_t rtt_ns);

/* rewrite.c: what stands before a slot's payload on a viewer's leg, written at dst. */
typedef struct rf_head {
    uint16_t clear; /* RTP header, CSRCs, extensions */
    uint16_t total; /* … and what is encrypted before the payload: an RTX packet's OSN */
} rf_head;

rf_head rf_rewrite(const rf_peer *p, const rf_track *t, uint64_t index, const rf_segment *segment,
                   uint64_t out_seq, uint8_t pt, uint8_t *dst);
/* The RTX form, with the original sequence number behind the header (RFC 4588). */
rf_head rf_rewrite_rtx(const rf_peer *p, const rf_track *t, uint64_t index,
                       const rf_segment *segment, uint64_t out_seq, uint8_t rtx_pt,
                       uint64_t rtx_seq, uint8_t *dst);

/* legs.c: peers over TCP */
enum rf_admission { RF_LEG_GO, RF_LEG_WAIT, RF_LEG_SKIP, RF_LEG_PASS };
rf_leg *rf_leg_of(rf_ctx *x, const rf_path *path); /* NULL: UDP, or gone */
/* One datagram to a tuple of a peer that this worker owns, by whichever transport. */
enum rf_sent rf_send_now(rf_ctx *x, const rf_path *path, uint8_t *data, size_t len);
/* The slab's first `count` jobs, those of peers over TCP, into their rings. */
void rf_legs_send(rf_ctx *x, int count);
/* May the viewer's next packet be laid? GO: now, there is room. */
enum rf_admission rf_leg_admit(rf_ctx *x, rf_peer *p, int kind, const rf_slot *slot);
void rf_leg_skip(rf_ctx *x, rf_peer *p, int kind, uint64_t head);
/* Twice a second: did it go on without a skip for long? */
void rf_leg_watch(rf_ctx *x, rf_peer *p);
void rf_leg_resumed(rf_peer *p, int kind); /* its cursor stands where it goes on */
/* Has a slow viewer jumped lately? Then it waits for a key frame without asking for one. */
int rf_is_patient(const rf_ctx *x, const rf_peer *p);

/* thin.c: video of a viewer whose way carries less than the stream */
/* The level from now on (enum rf_thin). */
void rf_thin_set(rf_ctx *x, rf_peer *p, int level);
/* May the viewer's next packet of video be laid? PASS: its frame is left out. */
enum rf_admission rf_thin_admit(rf_ctx *x, rf_peer *p, const rf_track *t, const rf_slot *slot,
                                uint64_t head);
void rf_thin_pass(rf_peer *p, const rf_slot *slot);
void rf_thin_skip(rf_ctx *x, rf_peer *p);
void rf_thin_resumed(rf_ctx *x, rf_peer *p, uint64_t index);

/* egress.c */
/* Place for one packet in the slab, or NULL when the slab must be flushed first. */
uint8_t *rf_egress_room(rf_ctx *x);
/* srtp_index: 2^16 * roll-over counter + sequence number of what was written there. */
void rf_egress_add(rf_ctx *x, rf_peer *p, int kind, uint64_t index, uint64_t arrival_ns,
                   rf_head head, uint64_t srtp_index, const uint8_t *payload, size_t payload_len);
void rf_egress_flush(rf_ctx *x);
/* An RTCP compound, protected and sent at once. data needs RF_SRTP_TRAILER bytes of room. */
void rf_egress_rtcp(rf_ctx *x, rf_peer *p, uint8_t *data, size_t len);

#endif
