/* RTP header extensions, RFC 8285: one-byte (0xBEDE) and two-byte (0x100x) forms. Inside the
 * forwarder an extension is named by its URI's number below ("kind"), never by a leg's id. */
#ifndef RF_WIRE_HDREXT_H
#define RF_WIRE_HDREXT_H

#include <stddef.h>
#include <stdint.h>

#define RF_EXTS(X)                                                                                 \
    X(MID, "urn:ietf:params:rtp-hdrext:sdes:mid")                                                  \
    X(RID, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id")                                        \
    X(RRID, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id")                              \
    X(AUDIO_LEVEL, "urn:ietf:params:rtp-hdrext:ssrc-audio-level")                                  \
    X(VIDEO_ORIENTATION, "urn:3gpp:video-orientation")                                             \
    X(PLAYOUT_DELAY, "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay")                 \
    X(ABS_CAPTURE_TIME, "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time")           \
    X(DEPENDENCY,                                                                                  \
      "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension")   \
    X(TWCC, "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01")           \
    X(ABS_SEND_TIME, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time")                 \
    X(TOFFSET, "urn:ietf:params:rtp-hdrext:toffset")                                               \
    X(VIDEO_CONTENT_TYPE, "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type")       \
    X(VIDEO_TIMING, "http://www.webrtc.org/experiments/rtp-hdrext/video-timing")                   \
    X(COLOR_SPACE, "http://www.webrtc.org/experiments/rtp-hdrext/color-space")

enum rf_ext {
    RF_EXT_NONE = 0,
#define X(name, uri) RF_EXT_##name,
    RF_EXTS(X)
#undef X
        RF_EXT_COUNT
};

const char *rf_ext_uri(int kind); /* NULL for RF_EXT_NONE and out of range */

typedef struct rf_ext_map {
    uint8_t kind_of[256]; /* id (1..255) -> enum rf_ext, 0 when not negotiated */
} rf_ext_map;

typedef struct rf_ext_item {
    uint8_t kind; /* enum rf_ext */
    uint8_t len;  /* 0..255 */
    const uint8_t *data;
} rf_ext_item;

/* Walks an extension block (rf_rtp's ext, ext_len, ext_profile) and writes the known extensions
 * to out (at most max). Returns how many; unknown ids are skipped; a block that is cut short or
 * of another profile ends the walk without error (RFC 8285 section 4.1.2: ignore). */
int rf_ext_parse(uint16_t profile, const uint8_t *ext, size_t len, const rf_ext_map *map,
                 rf_ext_item *out, int max);

/* Writes a whole extension block, head included, padded to 4 bytes, under a leg's own ids
 * (id_of[kind], 0 = leave out); one-byte form when every id is 1..14 and every length 1..16,
 * else two-byte. Returns its length, 0 when nothing is left to write, RF_ENOSPC when cap is too
 * small. */
int rf_ext_build(const rf_ext_item *items, int count, const uint8_t id_of[RF_EXT_COUNT],
                 uint8_t *out, size_t cap);

#endif
