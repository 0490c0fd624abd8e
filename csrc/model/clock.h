/* A track's clock line: which stream timestamp belongs to which moment of our own clock.
 *
 *   ts(t) = rate * t + c   (mod 2^32),   t = CLOCK_MONOTONIC in ns
 *
 * so one 32-bit constant c says it all, and one 64-bit atomic carries it between threads.
 * Sender reports to viewers are read off this line (RFC 3550 section 6.4.1). */
#ifndef RF_MODEL_CLOCK_H
#define RF_MODEL_CLOCK_H

#include <stdint.h>

#define RF_CLOCK_VALID (1ull << 32)

/* Ticks of a clock of `rate` Hz in t nanoseconds, modulo 2^32. */
static inline uint32_t rf_ticks(uint64_t t_ns, uint32_t rate) {
    return (uint32_t)(t_ns / 1000000000u * rate + t_ns % 1000000000u * rate / 1000000000u);
}

static inline uint64_t rf_clock_line(uint32_t ts, uint64_t t_ns, uint32_t rate) {
    return RF_CLOCK_VALID | (uint32_t)(ts - rf_ticks(t_ns, rate));
}

static inline uint32_t rf_clock_ts(uint64_t line, uint64_t t_ns, uint32_t rate) {
    return (uint32_t)line + rf_ticks(t_ns, rate);
}

/* Unix nanoseconds to NTP 32.32 (seconds since 1900). */
static inline uint64_t rf_ntp(uint64_t unix_ns) {
    uint64_t seconds = unix_ns / 1000000000u + 2208988800u;
    return seconds << 32 | (unix_ns % 1000000000u << 32) / 1000000000u;
}

/* NTP 32.32 in nanoseconds since its own origin, whatever that is: a sender without a wall clock
 * may count from its start (RFC 3550 section 4). Below 2^62. */
static inline uint64_t rf_ntp_ns(uint64_t ntp) {
    return (ntp >> 32) * 1000000000u + ((ntp & 0xffffffffu) * 1000000000u >> 32);
}

#endif
