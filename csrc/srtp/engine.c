/* Which engine: the one that is asked for, else the fastest that this build and this CPU have. */
#include "srtp/engine.h"

#include "base/error.h"

int rf_srtp_engine_open(rf_srtp_engine *e, int which, const rf_libsrtp *lib) {
    if (which == RF_ENGINE_LIBSRTP)
        return rf_srtp_engine_libsrtp(e, lib);
    if (which == RF_ENGINE_IPSEC_MB)
        return rf_srtp_engine_ipsec_mb(e, lib);
    if (rf_srtp_engine_ipsec_mb(e, lib) == RF_OK)
        return RF_OK;
    return rf_srtp_engine_libsrtp(e, lib);
}
