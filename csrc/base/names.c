/* The texts behind error codes and drop reasons. */
#include <stddef.h>

#include "base/drop.h"
#include "base/error.h"

const char *rf_strerror(int err) {
    switch (err) {
    case RF_OK:
        return "no error";
#define X(name, value, text)                                                                       \
    case name:                                                                                     \
        return text;
        RF_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *rf_drop_name(int drop) {
    static const char *const names[] = {
#define X(name, text) #name,
        RF_DROPS(X)
#undef X
    };
    return drop >= 0 && drop < RF_DROP_COUNT ? names[drop] : NULL;
}

const char *rf_drop_text(int drop) {
    static const char *const texts[] = {
#define X(name, text) text,
        RF_DROPS(X)
#undef X
    };
    return drop >= 0 && drop < RF_DROP_COUNT ? texts[drop] : NULL;
}
