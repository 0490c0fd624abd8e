/* The texts behind enum rf_err, from the one list in error.h. */
#include "base/error.h"

const char *rf_strerror(int err) {
    switch (err) {
    case RF_OK:
        return "success";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        RF_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}
