# The C boundary, declared once: everything in csrc/include/rtcfwd.h. Nothing here takes the GIL or
# raises; failures are negative codes that _check() in the .pyx turns into exceptions.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t


ctypedef int (*rf_srtp_fn)(void *ctx, void *hdr, int *len) noexcept nogil


cdef extern from "rtcfwd.h" nogil:
    enum:
        RF_MAX_WORKERS
        RF_MAX_PATHS
        RF_MAX_FORMATS
        RF_MAX_DATAGRAM
        RF_MAX_EXT_KINDS
        RF_NO_PT
        RF_LAYERS
        RF_MAX_PARAMETERS

    enum rf_kind:
        RF_AUDIO
        RF_VIDEO
        RF_KINDS

    enum rf_role:
        RF_PUBLISHER
        RF_VIEWER

    enum rf_egress_mode:
        RF_EGRESS_SENDTO
        RF_EGRESS_SENDMMSG
        RF_EGRESS_GSO

    enum rf_engine:
        RF_ENGINE_AUTO
        RF_ENGINE_LIBSRTP
        RF_ENGINE_IPSEC_MB

    ctypedef struct rf_session_key:
        uint8_t cipher[32]
        uint8_t auth[20]
        uint8_t salt[14]

    ctypedef uint64_t rf_handle
    ctypedef struct rf_forwarder:
        pass

    ctypedef struct rf_path:
        uint8_t remote_ip[16]
        uint8_t local_ip[16]
        uint16_t remote_port
        uint32_t connection

    ctypedef struct rf_libsrtp:
        rf_srtp_fn protect
        rf_srtp_fn unprotect
        rf_srtp_fn protect_rtcp
        rf_srtp_fn unprotect_rtcp

    ctypedef struct rf_config:
        int workers
        int in_memory
        int egress
        uint8_t bind_ip[16]
        uint16_t port
        uint32_t max_peers
        uint32_t max_streams
        uint32_t video_slots
        uint32_t audio_slots
        uint32_t socket_buffer
        uint32_t punt_slots
        uint64_t start_pace_bps
        uint64_t start_max_bytes
        uint64_t start_max_ns
        uint64_t viewer_lag_ns
        uint64_t viewer_lag_bytes
        uint64_t remb_bps
        uint64_t resend_percent
        uint64_t keyframe_percent
        uint64_t wall_offset_ns
        int engine
        rf_libsrtp srtp

    int rf_new(const rf_config *config, rf_forwarder **out) noexcept
    int rf_listen_tcp(rf_forwarder *f, uint16_t port, uint32_t connections) noexcept
    int rf_start(rf_forwarder *f) noexcept
    void rf_stop(rf_forwarder *f) noexcept
    void rf_free(rf_forwarder *f) noexcept
    int rf_port(const rf_forwarder *f) noexcept
    const char *rf_engine_name(const rf_forwarder *f) noexcept
    int rf_is_gso(const rf_forwarder *f) noexcept

    int rf_stream_open(rf_forwarder *f, rf_handle *stream) noexcept
    int rf_stream_close(rf_forwarder *f, rf_handle stream) noexcept
    int rf_stream_keyframe(rf_forwarder *f, rf_handle stream) noexcept

    int rf_peer_open(rf_forwarder *f, rf_handle stream, int role, rf_handle *peer) noexcept
    int rf_peer_close(rf_forwarder *f, rf_handle peer, int send_bye) noexcept
    int rf_peer_ufrag(rf_forwarder *f, rf_handle peer, const uint8_t *ufrag, size_t len,
                      const uint8_t *pwd, size_t pwd_len, int remove) noexcept
    int rf_peer_path(rf_forwarder *f, rf_handle peer, const rf_path *path) noexcept
    int rf_peer_select(rf_forwarder *f, rf_handle peer, const rf_path *path) noexcept
    int rf_peer_keys(
        rf_forwarder *f, rf_handle peer, int profile, void *rx, void *tx,
        const rf_session_key *session,
    ) noexcept

    ctypedef struct rf_pub_format:
        uint8_t pt
        uint8_t codec
        uint8_t format
        uint8_t rtx_pt

    ctypedef struct rf_rid "rf_rid_name":
        char id[16]
        uint8_t len

    ctypedef struct rf_pub_track:
        uint8_t present
        uint8_t nack
        uint8_t pli
        uint8_t fir
        uint8_t remb
        uint8_t format_count
        uint8_t ssrc_count
        uint8_t mid_len
        char mid[16]
        uint32_t clock_rate
        uint32_t ssrc[4]
        uint32_t rtx_ssrc[4]
        rf_pub_format format[16]
        uint8_t layers
        rf_rid rid[4]
        uint16_t parameters_len
        uint8_t parameters[1024]

    ctypedef struct rf_publication:
        rf_pub_track track[2]
        uint8_t ext_kind_of[256]
        uint32_t local_ssrc
        uint8_t reduced_size
        char cname[32]

    ctypedef struct rf_view_track:
        uint8_t present
        uint8_t nack
        uint8_t mid_len
        char mid[16]
        uint32_t ssrc
        uint32_t rtx_ssrc
        uint8_t pt_of_format[16]
        uint8_t rtx_pt_of_format[16]
        uint16_t derived

    ctypedef struct rf_subscription:
        rf_view_track track[2]
        uint8_t ext_id_of[16]
        uint8_t ext_mixed
        uint8_t start_playout_delay
        uint8_t playout_fixed
        uint16_t playout_min
        uint16_t playout_max
        char cname[32]

    int rf_peer_publish(rf_forwarder *f, rf_handle peer, const rf_publication *p) noexcept
    int rf_peer_view(rf_forwarder *f, rf_handle peer, const rf_subscription *s) noexcept
    int rf_peer_format(rf_forwarder *f, rf_handle peer, int kind, int format, int pt,
                       int rtx_pt, int derived) noexcept
    int rf_peer_layer(rf_forwarder *f, rf_handle peer, int layer) noexcept
    int rf_send(rf_forwarder *f, int worker, const rf_path *path, const uint8_t *data,
                size_t len) noexcept

    enum rf_event_type:
        RF_EVENT_STUN
        RF_EVENT_DTLS
        RF_EVENT_PEER_GONE
        RF_EVENT_STREAM_GONE
        RF_EVENT_PEER_IDLE
        RF_EVENT_PUBLISHER_ACTIVE
        RF_EVENT_PUBLISHER_SILENT
        RF_EVENT_PARAMETERS
        RF_EVENT_VIEWER_SLOW
        RF_EVENT_VIEWER_LAYER

    ctypedef struct rf_event:
        uint8_t type
        uint8_t kind
        uint16_t worker
        uint32_t len
        rf_handle peer
        rf_handle stream
        rf_path path
        uint64_t at_ns
        uint8_t data[1600]

    int rf_event_fd(const rf_forwarder *f) noexcept
    int rf_poll(rf_forwarder *f, rf_event *event) noexcept

    int rf_inject(rf_forwarder *f, int worker, const rf_path *path, const uint8_t *data,
                  size_t len, uint64_t now_ns) noexcept
    int rf_turn(rf_forwarder *f, int worker, uint64_t now_ns) noexcept
    int rf_take_sent(rf_forwarder *f, int worker, rf_path *path, uint8_t *out,
                     size_t cap) noexcept

    ctypedef struct rf_track_stats:
        uint64_t packets
        uint64_t bytes
        uint64_t lost
        uint64_t repaired
        uint64_t nacks_sent
        uint64_t keyframe_requests_sent
        uint64_t keyframes
        uint64_t duplicates
        uint64_t head
        uint32_t jitter
        uint32_t clock_rate
        uint32_t ssrc
        uint64_t b_frames
        uint64_t parameters_added
        uint64_t parameters_missing
        uint64_t bitrate
        uint16_t width
        uint16_t height
        int32_t drift_ppm
        uint32_t key_interval_ms
        uint32_t keys_prompt
        uint32_t keys_late
        uint32_t plis_unanswered
        uint64_t inspected
        uint64_t discardable
        uint8_t format
        uint8_t codec
        uint8_t active

    ctypedef struct rf_delay_stats:
        uint64_t sum_ns
        uint64_t max_ns
        uint64_t count
        uint64_t bucket[88]

    ctypedef struct rf_stream_stats:
        rf_track_stats track[2]
        rf_track_stats layer[4]
        uint8_t layers
        uint8_t best
        uint32_t viewers
        uint32_t worker
        uint32_t derived_viewers
        uint64_t feedback_sent
        uint64_t layer_changes
        rf_delay_stats delays

    ctypedef struct rf_view_track_stats:
        uint64_t packets
        uint64_t bytes
        uint64_t resent
        uint64_t resent_bytes
        uint64_t nacks
        uint64_t plis
        uint64_t skipped
        uint64_t lag
        uint32_t fraction_lost
        int32_t cumulative_lost
        uint32_t jitter
        uint32_t ssrc
        uint32_t layer
        uint64_t layer_changes

    ctypedef struct rf_peer_stats:
        uint64_t first_media_ns
        uint64_t last_heard_ns
        uint64_t rtt_ns
        uint64_t remb_bps
        uint64_t estimate_bps
        uint64_t received_packets
        uint64_t received_bytes
        uint64_t drops
        rf_path path
        rf_view_track_stats track[2]
        uint8_t role
        uint8_t has_keys
        uint8_t has_path
        uint8_t started
        uint16_t worker
        uint16_t profile
        uint8_t slow

    ctypedef struct rf_worker_stats:
        uint64_t turns
        uint64_t received
        uint64_t received_bytes
        uint64_t sent
        uint64_t sent_bytes
        uint64_t send_calls
        uint64_t receive_calls
        uint64_t wakeups
        uint64_t punts
        uint64_t mailboxed
        uint64_t feedback
        uint64_t video
        uint64_t discardable
        uint64_t layer_changes
        uint64_t checks
        uint64_t kernel_drops
        uint64_t packets
        uint64_t runs
        rf_delay_stats delays
        uint64_t drops[64]
        uint32_t peers
        uint32_t receive_buffer
        uint32_t send_buffer
        uint32_t asked_buffer

    ctypedef struct rf_memory:
        uint64_t workers
        uint64_t streams
        uint64_t publishers
        uint64_t viewers
        uint64_t tcp
        uint32_t viewer_count
        uint32_t viewer

    int rf_get_stream_stats(rf_forwarder *f, rf_handle stream, rf_stream_stats *out) noexcept
    int rf_get_peer_stats(rf_forwarder *f, rf_handle peer, rf_peer_stats *out) noexcept
    ctypedef struct rf_tcp_stats:
        uint64_t accepted
        uint64_t refused
        uint64_t expired
        uint64_t malformed
        uint64_t closed
        uint64_t open
        uint64_t bound
        uint64_t received
        uint64_t received_bytes
        uint64_t sent
        uint64_t sent_bytes

    int rf_get_tcp_stats(rf_forwarder *f, rf_tcp_stats *out) noexcept
    int rf_get_worker_stats(rf_forwarder *f, int worker, rf_worker_stats *out) noexcept
    int rf_get_memory(rf_forwarder *f, rf_memory *out) noexcept

    const char *rf_strerror(int err) noexcept
    const char *rf_drop_name(int drop) noexcept
    const char *rf_drop_text(int drop) noexcept
    uint64_t rf_delay_bound(int bucket) noexcept
    const char *rf_ext_uri(int kind) noexcept
