/* Every reason for which the data plane discards a datagram or declines an action, by name.
 * One counter each per worker; the names are what the API and /metrics show. */
#ifndef RF_BASE_DROP_H
#define RF_BASE_DROP_H

#define RF_DROPS(X)                                                                                \
    X(unclassified, "first byte belongs to no protocol of RFC 7983")                               \
    X(too_short, "shorter than the smallest packet of its protocol")                               \
    X(too_long, "longer than a log slot can hold")                                                 \
    X(stun_unknown_ufrag, "STUN whose USERNAME names no installed ufrag")                          \
    X(stun_malformed, "STUN that does not parse")                                                  \
    X(dtls_unknown_tuple, "DTLS from a tuple that no STUN check has verified")                     \
    X(unknown_tuple, "RTP or RTCP from a tuple that no STUN check has verified")                   \
    X(punt_rate, "punt refused by a token bucket")                                                 \
    X(punt_full, "punt ring full")                                                                 \
    X(mailbox_full, "another worker's mailbox full")                                               \
    X(stale_handle, "the peer was closed meanwhile")                                               \
    X(no_keys, "media before the SRTP keys, and the early buffer is full")                         \
    X(auth_failed, "SRTP or SRTCP authentication failed")                                          \
    X(replayed, "SRTP replay check failed")                                                        \
    X(rtp_malformed, "RTP header does not parse")                                                  \
    X(rtcp_malformed, "RTCP compound does not parse")                                              \
    X(rtp_from_viewer, "RTP sent by a viewer")                                                     \
    X(unknown_ssrc, "RTP that matches no negotiated track")                                        \
    X(unknown_payload_type, "payload type not in the answer")                                      \
    X(probation, "sequence jump under RFC 3550 probation")                                         \
    X(too_old, "older than the map of sequence numbers reaches")                                   \
    X(duplicate, "sequence number already in the log")                                             \
    X(padding_only, "padding without payload")                                                     \
    X(rtx_malformed, "RTX without an original sequence number")                                    \
    X(log_pinned, "a slow worker still reads the slot")                                            \
    X(viewer_lapped, "viewer fell behind the log and jumped to a key frame")                       \
    X(viewer_no_format, "viewer did not negotiate the format of this packet")                      \
    X(protect_failed, "the SRTP engine refused to protect a packet")                               \
    X(nack_unknown, "NACK for a number never sent or no longer in the log")                        \
    X(nack_gated, "NACK repeated too soon or too often")                                           \
    X(nack_budget, "NACK over the viewer's resend budget")                                         \
    X(send_again, "socket buffer full; cursor kept, nothing lost")                                 \
    X(send_nobufs, "ENOBUFS from the kernel")                                                      \
    X(send_too_big, "EMSGSIZE or EINVAL from the kernel")                                          \
    X(send_unreachable, "address unreachable or refused")                                          \
    X(no_path, "peer has no validated path yet")                                                   \
    X(check_rate, "STUN check over its peer's rate")                                               \
    X(leg_full, "no room in a viewer's TCP connection for a resend or a report")                   \
    X(leg_late, "viewer over TCP fell behind and went on at a key frame or the live edge")         \
    X(viewer_thinned, "viewer's way too narrow: video went on at a later key frame")               \
    X(viewer_broken, "circuit breaker: reports failed, or told that nothing arrives")              \
    X(remb_absurd, "REMB of nothing, of more than any link carries, or one of a flood")

enum rf_drop {
#define X(name, text) RF_DROP_##name,
    RF_DROPS(X)
#undef X
        RF_DROP_COUNT
};

const char *rf_drop_name(int drop); /* "unclassified", …; NULL out of range */
const char *rf_drop_text(int drop);

#endif
