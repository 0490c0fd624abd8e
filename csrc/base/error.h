/* Error codes of every csrc function that can fail: 0 is success, a failure is one of these
 * negative values. The Python side turns them into exceptions in one place (_check). */
#ifndef RF_BASE_ERROR_H
#define RF_BASE_ERROR_H

#define RF_ERRORS(X)                                                                               \
    X(RF_ETRUNC, -1, "truncated or malformed input")                                               \
    X(RF_EINVAL, -2, "invalid argument")                                                           \
    X(RF_ENOMEM, -3, "out of memory")                                                              \
    X(RF_EFULL, -4, "a bounded queue or table is full")                                            \
    X(RF_ESTALE, -5, "the handle names an object that is gone")                                    \
    X(RF_EAGAIN, -6, "would block; try again")                                                     \
    X(RF_ESYS, -7, "a system call failed; see errno")                                              \
    X(RF_EAUTH, -8, "authentication or replay check failed")                                       \
    X(RF_ESTATE, -9, "not possible in the object's present state")                                 \
    X(RF_ENOSPC, -10, "the output buffer is too small")

enum rf_err {
    RF_OK = 0,
#define X(name, value, text) name = value,
    RF_ERRORS(X)
#undef X
};

const char *rf_strerror(int err);

#endif
