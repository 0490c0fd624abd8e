/* RTCP: a walk over a compound packet and builders for what we send.
 * RFC 3550 section 6; RFC 3611 (round trips of receivers); RFC 4585 (NACK, PLI); RFC 5104 (FIR);
 * RFC 5506 (reduced size);
 * draft-alvestrand-rmcat-remb. All functions work on decrypted packets. */
#ifndef RF_WIRE_RTCP_H
#define RF_WIRE_RTCP_H

#include <stddef.h>
#include <stdint.h>

enum {
    RF_RTCP_SR = 200,
    RF_RTCP_RR = 201,
    RF_RTCP_SDES = 202,
    RF_RTCP_BYE = 203,
    RF_RTCP_APP = 204,
    RF_RTCP_RTPFB = 205, /* count field: 1 = NACK, 15 = transport-cc */
    RF_RTCP_PSFB = 206,  /* count field: 1 = PLI, 4 = FIR, 15 = REMB (ALFB) */
    RF_RTCP_XR = 207,
};

typedef struct rf_rtcp_item {
    uint8_t type;
    uint8_t count;       /* RC, SC or FMT: the low five bits of the first byte */
    const uint8_t *body; /* behind the 4-byte head */
    size_t len;          /* padding removed */
} rf_rtcp_item;

typedef struct rf_rtcp_walk {
    const uint8_t *at, *end;
} rf_rtcp_walk;

/* Checks version, lengths and padding of the whole compound first: RF_ETRUNC and nothing is
 * walked when any part is malformed. */
int rf_rtcp_begin(rf_rtcp_walk *w, const uint8_t *data, size_t len);
/* 1 and *item, or 0 at the end. */
int rf_rtcp_next(rf_rtcp_walk *w, rf_rtcp_item *item);

typedef struct rf_report_block {
    uint32_t ssrc;
    uint8_t fraction_lost;
    int32_t cumulative_lost; /* 24 bits, sign-extended */
    uint32_t highest_seq;
    uint32_t jitter;
    uint32_t lsr;
    uint32_t dlsr;
} rf_report_block;

typedef struct rf_sender_info {
    uint32_t ssrc;
    uint64_t ntp; /* 32.32 fixed point */
    uint32_t rtp_ts;
    uint32_t packets;
    uint32_t octets;
} rf_sender_info;

/* Parsers of one item; 0 or RF_ETRUNC. `index` counts from 0. */
int rf_rtcp_sender_info(const rf_rtcp_item *item, rf_sender_info *out);        /* SR */
int rf_rtcp_report(const rf_rtcp_item *item, int index, rf_report_block *out); /* SR, RR */
/* NACK: media SSRC and the count of (PID, BLP) pairs; pair i by rf_rtcp_nack_pair. */
int rf_rtcp_nack(const rf_rtcp_item *item, uint32_t *media_ssrc, int *pairs);
void rf_rtcp_nack_pair(const rf_rtcp_item *item, int index, uint16_t *pid, uint16_t *blp);
int rf_rtcp_pli(const rf_rtcp_item *item, uint32_t *media_ssrc);
/* FIR: entry i: the SSRC asked and its command sequence number; RF_ETRUNC past the last. */
int rf_rtcp_fir(const rf_rtcp_item *item, int index, uint32_t *ssrc, uint8_t *seq);
/* XR (RFC 3611 section 4.4): its sender, and the last receiver reference time in it, 32.32 fixed
 * point; RF_ETRUNC when it has none, or a block reaches beyond it. */
int rf_rtcp_rrtr(const rf_rtcp_item *item, uint32_t *ssrc, uint64_t *ntp);
/* REMB: bits per second; RF_ETRUNC when the unique identifier is missing. */
int rf_rtcp_remb(const rf_rtcp_item *item, uint64_t *bps);

/* RFC 3611 section 4.5: whose reference time came last, its middle 32 bits, and how long ago, in
 * 1/65536 s. */
typedef struct rf_dlrr {
    uint32_t ssrc, last_rr, delay;
} rf_dlrr;

/* Builders: append at out + *at, move *at; RF_ENOSPC leaves both untouched. */
typedef struct rf_writer {
    uint8_t *out;
    size_t at, cap;
} rf_writer;

int rf_rtcp_write_sr(rf_writer *w, const rf_sender_info *s);
int rf_rtcp_write_rr(rf_writer *w, uint32_t sender_ssrc, const rf_report_block *blocks, int count);
/* One chunk for every SSRC given, CNAME only. */
int rf_rtcp_write_sdes(rf_writer *w, const uint32_t *ssrcs, int count, const char *cname);
int rf_rtcp_write_bye(rf_writer *w, const uint32_t *ssrcs, int count);
/* seqs ascending (mod 2^16); folded into (PID, BLP) pairs. */
int rf_rtcp_write_nack(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc,
                       const uint16_t *seqs, int count);
int rf_rtcp_write_pli(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc);
int rf_rtcp_write_fir(rf_writer *w, uint32_t sender_ssrc, uint32_t media_ssrc, uint8_t seq);
int rf_rtcp_write_remb(rf_writer *w, uint32_t sender_ssrc, uint64_t bps, const uint32_t *ssrcs,
                       int count);
int rf_rtcp_write_dlrr(rf_writer *w, uint32_t sender_ssrc, const rf_dlrr *receivers, int count);

#endif
