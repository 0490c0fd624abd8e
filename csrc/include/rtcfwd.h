/* The data plane as the control plane sees it: the only header that Cython reads.
 *
 * A forwarder is N workers on one UDP port. Streams hold one log per track; peers are a
 * publisher or a viewer of one stream. All functions here are called from one thread (the one
 * with the event loop; the GIL makes it so), never block, and talk to the workers by bounded
 * queues. Objects are named by handles; a handle of an object that is gone gives RF_ESTALE.
 * Functions return 0 or a count, or a negative rf_err.
 *
 * Two ways to run: rf_start() gives every worker its thread and a UDP socket; an in-memory
 * forwarder (config.in_memory) has neither: the caller injects datagrams, calls rf_turn() with a
 * time of its own choosing, and takes what was sent.
 */
#ifndef RTCFWD_H
#define RTCFWD_H

#include <stddef.h>
#include <stdint.h>

#define RF_MAX_WORKERS 64
#define RF_MAX_PATHS 8    /* validated tuples of one peer */
#define RF_MAX_FORMATS 16 /* formats (codec + fmtp) that one track ever carried */
#define RF_MAX_DATAGRAM 1600
#define RF_LAYERS 4                        /* simulcast layers of one video track */
#define RF_LOGS (RF_KINDS + RF_LAYERS - 1) /* audio, then one log a layer */
#define RF_MAX_PARAMETERS 1024
#define RF_MAX_EXT_KINDS 16
#define RF_DELAY_BUCKETS 88 /* four an octave, from 1 us to 8 s: model/delays.h */
#define RF_NO_PT 255

enum rf_kind { RF_AUDIO = 0, RF_VIDEO = 1, RF_KINDS = 2 };
enum rf_role { RF_PUBLISHER = 0, RF_VIEWER = 1 };
enum rf_engine { RF_ENGINE_AUTO = 0, RF_ENGINE_LIBSRTP = 1, RF_ENGINE_IPSEC_MB = 2 };
enum rf_egress_mode { RF_EGRESS_SENDTO = 0, RF_EGRESS_SENDMMSG = 1, RF_EGRESS_GSO = 2 };

typedef uint64_t rf_handle; /* index + 1 in the low half, generation above; 0 names nothing */
typedef struct rf_forwarder rf_forwarder;

/* IPv4 stands v4-mapped (::ffff:a.b.c.d); port in host order. */
typedef struct rf_path {
    uint8_t remote_ip[16];
    uint8_t local_ip[16];
    uint16_t remote_port;
    uint16_t zero;
    uint32_t connection; /* 0: UDP; else the number of a TCP connection */
} rf_path;

/* libsrtp's functions, taken from pylibsrtp's module (types and version checked at import). */
typedef struct rf_libsrtp {
    int (*protect)(void *ctx, void *hdr, int *len);
    int (*unprotect)(void *ctx, void *hdr, int *len);
    int (*protect_rtcp)(void *ctx, void *hdr, int *len);
    int (*unprotect_rtcp)(void *ctx, void *hdr, int *len);
} rf_libsrtp;

/* Session keys of outbound RTP, derived from the master key (RFC 3711 section 4.3, RFC 7714). */
typedef struct rf_session_key {
    uint8_t cipher[32]; /* 16 bytes of it, 32 for AES-256 */
    uint8_t auth[20];   /* HMAC-SHA1; not used with GCM */
    uint8_t salt[14];   /* 12 bytes of it with GCM */
} rf_session_key;

typedef struct rf_config {
    int workers;
    int in_memory;
    int egress;          /* enum rf_egress_mode */
    uint8_t bind_ip[16]; /* :: = every address, both families */
    uint16_t port;       /* 0: the kernel's choice, see rf_port() */
    uint32_t max_peers;
    uint32_t max_streams;
    uint32_t video_slots; /* powers of two */
    uint32_t audio_slots;
    uint32_t socket_buffer;   /* bytes asked for SO_RCVBUF and SO_SNDBUF */
    uint32_t punt_slots;      /* power of two, per worker and ring */
    uint64_t start_pace_bps;  /* rate of a viewer's start burst */
    uint64_t start_max_bytes; /* a larger backlog starts with a poster frame */
    uint64_t start_max_ns;
    uint64_t viewer_lag_ns;    /* a viewer whose video is later goes on at the next key frame … */
    uint64_t viewer_lag_bytes; /* … or one with more that waits for it */
    uint64_t remb_bps;         /* told to publishers */
    uint64_t keyframe_percent; /* of the bitrate that key frames asked for may take, 1 … 100 */
    uint64_t resend_percent;   /* of a viewer's rate that NACKs may cost */
    uint64_t wall_offset_ns;   /* Unix time minus CLOCK_MONOTONIC, for NTP stamps */
    int engine;                /* enum rf_engine */
    rf_libsrtp srtp;
} rf_config;

/* ---- life ---- */
int rf_new(const rf_config *config, rf_forwarder **out); /* binds the sockets */
int rf_start(rf_forwarder *f);                           /* starts the threads */
/* Before rf_start: takes TCP connections on config.bind_ip, at most `connections` at once. port 0:
 * any; returns the port. RF_ESYS with errno where it cannot be had, and nothing has changed. */
int rf_listen_tcp(rf_forwarder *f, uint16_t port, uint32_t connections);
void rf_stop(rf_forwarder *f); /* joins them; idempotent */
void rf_free(rf_forwarder *f);
int rf_port(const rf_forwarder *f);
const char *rf_engine_name(const rf_forwarder *f); /* of outbound RTP */
int rf_is_gso(const rf_forwarder *f);              /* UDP_SEGMENT probed and on */

/* ---- streams ---- */
int rf_stream_open(rf_forwarder *f, rf_handle *stream);
/* Its peers must be closed before (else RF_ESTATE). STREAM_GONE follows when every worker has let
 * go. */
int rf_stream_close(rf_forwarder *f, rf_handle stream);

/* ---- peers ---- */
int rf_peer_open(rf_forwarder *f, rf_handle stream, int role, rf_handle *peer);
/* PEER_GONE follows; only then may the SRTP sessions be freed. */
int rf_peer_close(rf_forwarder *f, rf_handle peer, int send_bye);
/* STUN that names this ufrag is punted. With its password, plain checks from installed tuples are
 * answered without the control plane; pwd NULL: all are punted. */
int rf_peer_ufrag(rf_forwarder *f, rf_handle peer, const uint8_t *ufrag, size_t len,
                  const uint8_t *pwd, size_t pwd_len, int remove);
/* Validated: may receive. At most RF_MAX_PATHS, the oldest that is not selected gives way; the
 * first one is selected. A TCP connection becomes this peer's; RF_ESTALE: it is gone, or another's.
 */
int rf_peer_path(rf_forwarder *f, rf_handle peer, const rf_path *path);
int rf_peer_select(rf_forwarder *f, rf_handle peer, const rf_path *path); /* media goes there */
/* srtp_t contexts; owned by the caller, used by the peer's owner alone until PEER_GONE.
 * profile: DTLS-SRTP number (1 SHA1_80, 7 GCM128, 8 GCM256). `session` is copied where the engine
 * needs it; the caller wipes his own. Once only (else RF_ESTATE). */
int rf_peer_keys(rf_forwarder *f, rf_handle peer, int profile, void *rx, void *tx,
                 const rf_session_key *session);

typedef struct rf_pub_format {
    uint8_t pt;
    uint8_t codec;  /* enum rf_codec */
    uint8_t format; /* index in the stream's table for this kind, < RF_MAX_FORMATS */
    uint8_t rtx_pt; /* RF_NO_PT: none */
} rf_pub_format;

typedef struct rf_rid_name {
    char id[16];
    uint8_t len;
} rf_rid_name;

typedef struct rf_pub_track {
    uint8_t present;
    uint8_t nack, pli, fir, remb;
    uint8_t format_count;
    uint8_t ssrc_count; /* signalled by a=ssrc, without RTX */
    uint8_t mid_len;
    char mid[16];
    uint32_t clock_rate;
    uint32_t ssrc[4];
    uint32_t rtx_ssrc[4]; /* rtx_ssrc[i] repairs ssrc[i]; 0: not signalled */
    rf_pub_format format[RF_MAX_FORMATS];
    uint8_t layers; /* simulcast (RFC 8853): that many rids; 0 and 1: one layer, found without */
    rf_rid_name rid[RF_LAYERS];
    uint16_t parameters_len; /* H264 sets from the offer, each behind its length in 16 bits */
    uint8_t parameters[RF_MAX_PARAMETERS];
} rf_pub_track;

typedef struct rf_publication {
    rf_pub_track track[RF_KINDS];
    uint8_t ext_kind_of[256]; /* header extension id -> enum rf_ext */
    uint32_t local_ssrc;      /* ours, sender of RTCP */
    uint8_t reduced_size;     /* a=rtcp-rsize negotiated */
    char cname[32];
} rf_publication;

int rf_peer_publish(rf_forwarder *f, rf_handle peer, const rf_publication *p);

typedef struct rf_view_track {
    uint8_t present;
    uint8_t nack; /* the viewer may ask again */
    uint8_t mid_len;
    char mid[16];
    uint32_t ssrc;
    uint32_t rtx_ssrc;                    /* 0: resend on the same SSRC */
    uint8_t pt_of_format[RF_MAX_FORMATS]; /* RF_NO_PT: not for this viewer */
    uint8_t rtx_pt_of_format[RF_MAX_FORMATS];
    uint16_t derived; /* bit f: format f, A-law or µ-law audio, goes out in the other law */
} rf_view_track;

typedef struct rf_subscription {
    rf_view_track track[RF_KINDS];
    uint8_t ext_id_of[RF_MAX_EXT_KINDS]; /* enum rf_ext -> the viewer's id, 0: not negotiated */
    uint8_t ext_mixed;                   /* extmap-allow-mixed: two-byte headers too (RFC 8285) */
    uint8_t start_playout_delay;         /* send playout-delay 0/0 at the start */
    uint8_t playout_fixed; /* … or these two instead, in 10 ms, below 4096, and nothing else */
    uint16_t playout_min, playout_max;
    char cname[32];
} rf_subscription;

int rf_peer_view(rf_forwarder *f, rf_handle peer, const rf_subscription *s);
/* A format that appeared after the viewer joined (codec change of the publisher). `derived`: see
 * rf_view_track. */
int rf_peer_format(rf_forwarder *f, rf_handle peer, int kind, int format, int pt, int rtx_pt,
                   int derived);
/* Which simulcast layer a viewer gets from the next key frame of it on: its number in the
 * publication, or -1 for the best that is on the air. A layer that falls silent is stood in for by
 * the next lower one. */
int rf_peer_layer(rf_forwarder *f, rf_handle peer, int layer);
/* Ask the stream's publisher for a key frame, merged and bounded with the viewers' own wishes. */
int rf_stream_keyframe(rf_forwarder *f, rf_handle stream);

/* ---- datagrams of the control plane (STUN, DTLS) ---- */
int rf_send(rf_forwarder *f, int worker, const rf_path *path, const uint8_t *data, size_t len);

/* ---- events ---- */
enum rf_event_type {
    RF_EVENT_STUN, /* data: the datagram */
    RF_EVENT_DTLS,
    RF_EVENT_PEER_GONE,
    RF_EVENT_STREAM_GONE,
    RF_EVENT_PEER_IDLE,        /* no authenticated media or RTCP for 30 s; again every 10 s */
    RF_EVENT_PUBLISHER_ACTIVE, /* first packet of a kind in the log, or back from silence */
    RF_EVENT_PUBLISHER_SILENT, /* no media for 3 s */
    RF_EVENT_PARAMETERS,       /* data: the SPS NAL unit, when first seen and when it changes */
    RF_EVENT_VIEWER_SLOW,      /* data: enum rf_slow, then the estimate, 64 bits of our order */
    RF_EVENT_VIEWER_LAYER,     /* data: the simulcast layer that it gets now, one byte */
};

/* What a viewer's video is since its way was found too narrow, or wide enough again. */
enum rf_slow {
    RF_SLOW_ALL,    /* everything again */
    RF_SLOW_FITS,   /* what fits */
    RF_SLOW_PAUSED, /* nothing */
    RF_SLOW_BROKEN, /* nothing, and that did not help: close it (RFC 8083) */
};

typedef struct rf_event {
    uint8_t type;
    uint8_t kind; /* enum rf_kind, where it applies */
    uint16_t worker;
    uint32_t len;
    rf_handle peer;
    rf_handle stream;
    rf_path path;
    uint64_t at_ns;
    uint8_t data[RF_MAX_DATAGRAM];
} rf_event;

int rf_event_fd(const rf_forwarder *f);        /* readable while events wait */
int rf_poll(rf_forwarder *f, rf_event *event); /* 1 and one event, or 0 */

/* ---- in memory ---- */
int rf_inject(rf_forwarder *f, int worker, const rf_path *path, const uint8_t *data, size_t len,
              uint64_t now_ns);
int rf_turn(rf_forwarder *f, int worker, uint64_t now_ns); /* 1: more to do at once, else 0 */
/* The oldest datagram that `worker` has sent: its length, or 0. */
int rf_take_sent(rf_forwarder *f, int worker, rf_path *path, uint8_t *out, size_t cap);

/* ---- figures: snapshots of counters, each read once, not one instant for all ---- */
typedef struct rf_track_stats {
    uint64_t packets, bytes; /* appended to the log */
    uint64_t lost;           /* RFC 3550 expected minus received, repairs included */
    uint64_t repaired;       /* came by our NACK */
    uint64_t nacks_sent, keyframe_requests_sent, keyframes, duplicates;
    uint64_t head;   /* log index of the next packet */
    uint32_t jitter; /* RTP clock units */
    uint32_t clock_rate;
    uint32_t ssrc;
    uint64_t b_frames;           /* packets that begin a B slice (H264), since publish */
    uint64_t parameters_added;   /* key frames that were given their parameter sets here */
    uint64_t parameters_missing; /* key frames that came without, and none were known */
    uint64_t bitrate;            /* bits of payload a second; simulcast only */
    uint16_t width, height;      /* of the newest key frame, 0: not known */
    int32_t drift_ppm;           /* by how much the publisher's clock is fast; 0 for 75 s */
    uint32_t key_interval_ms;    /* between the newest two key frames, 0: not known */
    /* Key frames that came within 1.5 s of our first request, and later than that; requests since
     * the newest one. */
    uint32_t keys_prompt, keys_late, plis_unanswered;
    /* Since publish: packets whose payload was looked at, those of frames that no other needs. */
    uint64_t inspected, discardable;
    uint8_t format, codec, active, pad;
} rf_track_stats;

/* How long media packets stayed: from the kernel's receive stamp (or when they were read, where
 * there is none) to the return of the send call; UDP viewers that are at the live edge. */
typedef struct rf_delay_stats {
    uint64_t sum_ns, max_ns, count;
    uint64_t bucket[RF_DELAY_BUCKETS]; /* each below rf_delay_bound() of its number */
} rf_delay_stats;

typedef struct rf_stream_stats {
    rf_track_stats track[RF_KINDS]; /* video: all layers together, the best one's format */
    rf_track_stats layer[RF_LAYERS];
    uint8_t layers; /* of the newest publication; 0: no simulcast */
    uint8_t best;   /* what viewers without a choice get; 255: not known yet */
    uint32_t viewers;
    uint32_t worker;
    uint32_t derived_viewers; /* of its derived log, see rf_view_track */
    uint64_t feedback_sent;   /* transport-wide feedback packets to its publishers */
    uint64_t layer_changes;   /* of its viewers, since it was opened */
    rf_delay_stats delays;    /* of the last 30 to 60 s; a packet counts for each viewer */
} rf_stream_stats;

typedef struct rf_view_track_stats {
    uint64_t packets, bytes; /* sent, RTP with header, without resends */
    uint64_t resent, resent_bytes;
    uint64_t nacks, plis;   /* received; nacks counts packets asked */
    uint64_t skipped;       /* packets jumped over */
    uint64_t lag;           /* log entries between cursor and head */
    uint32_t fraction_lost; /* of 256, newest report */
    int32_t cumulative_lost;
    uint32_t jitter;
    uint32_t ssrc;
    uint32_t layer; /* that it gets now; simulcast only */
    uint64_t layer_changes;
} rf_view_track_stats;

typedef struct rf_peer_stats {
    uint64_t first_media_ns, last_heard_ns;
    uint64_t rtt_ns;       /* 0: not known */
    uint64_t remb_bps;     /* the viewer's own estimate, 0: none */
    uint64_t estimate_bps; /* ours, of all that is sent to it; 0: nothing speaks against any rate */
    uint64_t received_packets, received_bytes;
    uint64_t drops;
    rf_path path;
    rf_view_track_stats track[RF_KINDS];
    uint8_t role, has_keys, has_path, started;
    uint16_t worker;
    uint16_t profile;
    uint8_t slow; /* enum rf_slow: how much of the video a viewer gets */
} rf_peer_stats;

typedef struct rf_worker_stats {
    uint64_t turns, received, received_bytes, sent, sent_bytes;
    uint64_t send_calls, receive_calls, wakeups, punts, mailboxed;
    uint64_t feedback;      /* transport-wide feedback packets to publishers */
    uint64_t video;         /* packets of it from publishers … */
    uint64_t discardable;   /* … of frames that no other needs */
    uint64_t layer_changes; /* of viewers */
    uint64_t checks;        /* STUN checks answered without the control plane */
    uint64_t kernel_drops;  /* SO_RXQ_OVFL */
    uint64_t packets;       /* media, resends too, that left by UDP */
    uint64_t runs;          /* … and the messages they left in (GSO runs and singles) */
    rf_delay_stats delays;  /* since the start */
    uint64_t drops[64];     /* by enum rf_drop */
    uint32_t peers;
    uint32_t receive_buffer, send_buffer; /* what the kernel gave */
    uint32_t asked_buffer;                /* … of so much; 0: no socket */
} rf_worker_stats;

/* Bytes of the objects that live, by what they are for; the allocator's own share and libsrtp's
 * contexts are not in it. */
typedef struct rf_memory {
    uint64_t workers; /* contexts, tables, queues, slabs: fixed by the configuration */
    uint64_t streams; /* logs */
    uint64_t publishers, viewers;
    uint64_t tcp; /* connections: places, buffers of those in use, media rings of bound ones */
    uint32_t viewer_count;
    uint32_t viewer; /* one more viewer's: state, expanded key, places in tables */
} rf_memory;

typedef struct rf_tcp_stats {
    uint64_t accepted;  /* connections */
    uint64_t refused;   /* … at a limit of their address, or at the whole's */
    uint64_t expired;   /* … that were not authenticated in time, or gave way */
    uint64_t malformed; /* … that sent what is no frame of ours */
    uint64_t closed;
    uint64_t open, bound;                                /* now; bound: authenticated */
    uint64_t received, received_bytes, sent, sent_bytes; /* datagrams; bytes with their lengths */
} rf_tcp_stats;

int rf_get_tcp_stats(rf_forwarder *f, rf_tcp_stats *out); /* all 0 without TCP */
int rf_get_stream_stats(rf_forwarder *f, rf_handle stream, rf_stream_stats *out);
int rf_get_peer_stats(rf_forwarder *f, rf_handle peer, rf_peer_stats *out);
int rf_get_worker_stats(rf_forwarder *f, int worker, rf_worker_stats *out);
int rf_get_memory(rf_forwarder *f, rf_memory *out);

/* The names behind the numbers. */
const char *rf_strerror(int err);
const char *rf_drop_name(int drop);
const char *rf_drop_text(int drop);
/* A delay bucket's end in ns (exclusive); UINT64_MAX: the last, which has none. */
uint64_t rf_delay_bound(int bucket);
const char *rf_ext_uri(int kind);

#endif
