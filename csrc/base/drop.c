/* Names and texts of the drop reasons, from the one list in drop.h. */
#include "base/drop.h"

#include <stddef.h>

static const char *const names[RF_DROP_COUNT] = {
#define X(name, text) #name,
    RF_DROPS(X)
#undef X
};

static const char *const texts[RF_DROP_COUNT] = {
#define X(name, text) text,
    RF_DROPS(X)
#undef X
};

const char *rf_drop_name(int drop) {
    return drop >= 0 && drop < RF_DROP_COUNT ? names[drop] : NULL;
}

const char *rf_drop_text(int drop) {
    return drop >= 0 && drop < RF_DROP_COUNT ? texts[drop] : NULL;
}
