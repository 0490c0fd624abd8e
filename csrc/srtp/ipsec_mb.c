/* The engine that is there on x86-64 where ipsec-mb's header was found at build time: outbound RTP
 * out of place, from the log slot to the slab, so that the encryption is the copy.
 *
 *   AES-GCM (RFC 7714)     the library's direct calls, packet by packet
 *   AES-CM + HMAC-SHA1     multi-buffer jobs, flushed once a batch: the library hashes and encrypts
 *   (RFC 3711)             several packets at once, which is where its speed is
 *
 * One manager a thread. IVs and tags of a batch live in the engine's state until it is complete. */
#include "srtp/engine.h"

#include "base/error.h"

#ifndef RF_HAVE_IPSEC_MB

int rf_srtp_engine_ipsec_mb(rf_srtp_engine *e, const rf_libsrtp *lib) {
    (void)e;
    (void)lib;
    return RF_EINVAL;
}

#else

#include <intel-ipsec-mb.h>
#include <stdlib.h>
#include <string.h>

#include "base/cursor.h"

enum {
    BATCH = RF_SRTP_BATCH,
    SHA1_BLOCK = 64,
    SHA1_BYTES = 20,
    TAG_80 = 10,
    ROC = 4,
    ASKED_TAG = 12
};

typedef struct gcm_schedule {
    struct gcm_key_data data;
    uint8_t salt[12];
} gcm_schedule;

typedef struct cm_schedule {
    _Alignas(16) uint8_t cipher[16 * 11];
    _Alignas(16) uint8_t unused_decryption[16 * 11]; /* the library expands both ways at once */
    _Alignas(16) uint8_t inner[SHA1_BYTES], outer[SHA1_BYTES];
    uint8_t salt[14];
} cm_schedule;

typedef struct schedule {
    union {
        gcm_schedule gcm;
        cm_schedule cm;
    } u;
} schedule;

typedef struct state {
    IMB_MGR *manager;
    _Alignas(16) uint8_t iv[BATCH][16];
    _Alignas(16) uint8_t tag[BATCH][ASKED_TAG + 4];
} state;

/* Puts the whole of what is to be encrypted where the cipher can read it in one go. */
static const uint8_t *plain_text(const rf_srtp_job *job, size_t *len) {
    size_t before = (size_t)(job->head_len - job->clear_len);
    *len = before + job->src_len;
    if (!before && job->src)
        return job->src;
    if (job->src && job->src_len) /* a prefix stands at dst: the payload joins it there */
        memcpy(job->dst + job->head_len, job->src, job->src_len);
    return job->dst + job->clear_len;
}

/* ---- AES-GCM ---- */

static void protect_gcm(const state *s, rf_srtp_job *job) {
    const gcm_schedule *k = &((const schedule *)job->key->schedule)->u.gcm;
    struct gcm_context_data context;
    uint8_t iv[12] = {0};
    size_t len;
    const uint8_t *plain = plain_text(job, &len);
    uint8_t *cipher = job->dst + job->clear_len;
    memcpy(iv + 2, job->dst + 8, 4); /* SSRC */
    rf_put32(iv + 6, (uint32_t)(job->index >> 16));
    rf_put16(iv + 10, (uint16_t)job->index);
    for (size_t i = 0; i < sizeof iv; i++)
        iv[i] ^= k->salt[i];
    if (job->key->profile == RF_PROFILE_GCM_128)
        IMB_AES128_GCM_ENC(s->manager, &k->data, &context, cipher, plain, len, iv, job->dst,
                           job->clear_len, cipher + len, 16);
    else
        IMB_AES256_GCM_ENC(s->manager, &k->data, &context, cipher, plain, len, iv, job->dst,
                           job->clear_len, cipher + len, 16);
    job->rc = RF_OK;
}

/* ---- AES-CM and HMAC-SHA1 ---- */

/* RFC 3711 section 4.1.1: (salt * 2^16) ^ (SSRC * 2^64) ^ (index * 2^16) */
static void counter_iv(const cm_schedule *k, const rf_srtp_job *job, uint8_t iv[16]) {
    memcpy(iv, k->salt, 14);
    iv[14] = iv[15] = 0;
    for (int i = 0; i < 4; i++)
        iv[4 + i] ^= job->dst[8 + i];
    for (int i = 0; i < 6; i++)
        iv[8 + i] ^= (uint8_t)(job->index >> (40 - 8 * i));
}

static void finish_cm(rf_srtp_job *job, const IMB_JOB *done) {
    if (done->status != IMB_STATUS_COMPLETED)
        return; /* rc still says so */
    memcpy(job->dst + job->out_len - TAG_80, done->auth_tag_output, TAG_80);
    job->rc = RF_OK;
}

static void submit_cm(state *s, rf_srtp_job *job, int slot) {
    const cm_schedule *k = &((const schedule *)job->key->schedule)->u.cm;
    size_t len;
    const uint8_t *plain = plain_text(job, &len);
    uint8_t *cipher = job->dst + job->clear_len;
    job->rc = RF_EAUTH;
    if (len == 0)
        return;
    counter_iv(k, job, s->iv[slot]);
    rf_put32(cipher + len, (uint32_t)(job->index >> 16)); /* the ROC is hashed, then overwritten */
    IMB_JOB *j = IMB_GET_NEXT_JOB(s->manager);
    j->cipher_mode = IMB_CIPHER_CNTR;
    j->cipher_direction = IMB_DIR_ENCRYPT;
    j->chain_order = IMB_ORDER_CIPHER_HASH;
    j->hash_alg = IMB_AUTH_HMAC_SHA_1;
    j->enc_keys = k->cipher;
    j->dec_keys = k->cipher;
    j->key_len_in_bytes = 16;
    j->src = plain;
    j->dst = cipher;
    j->cipher_start_src_offset_in_bytes = 0;
    j->msg_len_to_cipher_in_bytes = len;
    /* The hash covers dst, but its start is told relative to src: the difference wraps, and the
     * library's addition wraps back. */
    j->hash_start_src_offset_in_bytes = (uint64_t)(uintptr_t)job->dst - (uint64_t)(uintptr_t)plain;
    j->msg_len_to_hash_in_bytes = job->clear_len + len + ROC;
    j->iv = s->iv[slot];
    j->iv_len_in_bytes = 16;
    j->auth_tag_output = s->tag[slot];
    j->auth_tag_output_len_in_bytes = ASKED_TAG; /* 10 is refused; two bytes are not used */
    j->u.HMAC._hashed_auth_key_xor_ipad = k->inner;
    j->u.HMAC._hashed_auth_key_xor_opad = k->outer;
    j->user_data = job;
    /* Unchecked: 6 % cheaper, and nothing above comes from the wire but lengths that were bounded.
     */
    for (j = IMB_SUBMIT_JOB_NOCHECK(s->manager); j; j = IMB_GET_COMPLETED_JOB(s->manager))
        finish_cm(j->user_data, j);
}

static void protect(const rf_srtp_engine *e, rf_srtp_job *jobs, int count) {
    state *s = e->state;
    int submitted = 0;
    for (int i = 0; i < count; i++) {
        if (i + 1 < count)
            __builtin_prefetch(jobs[i + 1].key->schedule);
        if (!jobs[i].key->schedule) {
            jobs[i].rc = RF_EAUTH;
        } else if (jobs[i].key->profile == RF_PROFILE_SHA1_80) {
            submit_cm(s, &jobs[i], i % BATCH);
            submitted = 1;
        } else {
            protect_gcm(s, &jobs[i]);
        }
    }
    for (IMB_JOB *j; submitted && (j = IMB_FLUSH_JOB(s->manager));)
        finish_cm(j->user_data, j);
}

/* ---- keys ---- */

static void hmac_state(IMB_MGR *m, const uint8_t *key, uint8_t pad, uint8_t *out) {
    uint8_t block[SHA1_BLOCK];
    memset(block, pad, sizeof block);
    for (int i = 0; i < SHA1_BYTES; i++)
        block[i] ^= key[i];
    IMB_SHA1_ONE_BLOCK(m, block, out);
    imb_clear_mem(block, sizeof block);
}

static void expand(const rf_srtp_engine *e, int profile, const rf_session_key *key, void *at) {
    IMB_MGR *m = ((state *)e->state)->manager;
    schedule *s = at;
    if (profile == RF_PROFILE_SHA1_80) {
        IMB_AES_KEYEXP_128(m, key->cipher, s->u.cm.cipher, s->u.cm.unused_decryption);
        hmac_state(m, key->auth, 0x36, s->u.cm.inner);
        hmac_state(m, key->auth, 0x5c, s->u.cm.outer);
        memcpy(s->u.cm.salt, key->salt, sizeof s->u.cm.salt);
        return;
    }
    if (profile == RF_PROFILE_GCM_128)
        IMB_AES128_GCM_PRE(m, key->cipher, &s->u.gcm.data);
    else
        IMB_AES256_GCM_PRE(m, key->cipher, &s->u.gcm.data);
    memcpy(s->u.gcm.salt, key->salt, sizeof s->u.gcm.salt);
}

static void forget(void *given) {
    imb_clear_mem(given, sizeof(schedule));
}

/* A packet of n blocks wants the round keys and the highest n powers' end of the hash keys. */
static void ask(const void *given, int is_long) {
    enum { LINE = 64, SHORT = 256 };
    const char *at = given;
    for (size_t i = 0; i < sizeof(schedule); i += LINE)
        if (is_long || i < SHORT || i + SHORT >= sizeof(schedule))
            __builtin_prefetch(at + i, 0, 2);
}

/* ---- life ---- */

static void close_engine(rf_srtp_engine *e) {
    state *s = e->state;
    if (!s)
        return;
    free_mb_mgr(s->manager);
    imb_clear_mem(s, sizeof *s);
    free(s);
    e->state = NULL;
}

int rf_srtp_engine_ipsec_mb(rf_srtp_engine *e, const rf_libsrtp *lib) {
    IMB_ARCH arch = IMB_ARCH_NONE;
    memset(e, 0, sizeof *e);
    state *s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
    if (!s)
        return RF_ENOMEM;
    memset(s, 0, sizeof *s);
    s->manager = alloc_mb_mgr(0);
    if (s->manager && s->manager->features & IMB_FEATURE_AESNI)
        init_mb_mgr_auto(s->manager, &arch);
    if (!s->manager || arch < IMB_ARCH_SSE || imb_get_errno(s->manager)) {
        if (s->manager)
            free_mb_mgr(s->manager);
        free(s);
        return RF_EINVAL;
    }
    e->name = "ipsec-mb";
    e->lib = *lib;
    e->state = s;
    e->schedule_bytes = (sizeof(schedule) + 63) / 64 * 64;
    e->protect = protect;
    e->expand = expand;
    e->forget = forget;
    e->ask = ask;
    e->free = close_engine;
    return RF_OK;
}

#endif
