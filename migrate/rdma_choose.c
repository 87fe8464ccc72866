/* Decides over RDMA or TCP; see rdma_choose.h. */
#include "migrate/rdma_choose.h"

#include <stdio.h>

static const char *on_processor(enum mig_encoding e);
static bool speaks_against(const struct choose_facts *f, char why[CONTROL_TEXT_SIZE]);

enum choose
choose_source(const struct choose_facts *f, char why[CONTROL_TEXT_SIZE])
{
    bool against;

    why[0] = '\0';
    if (f->transport == MIG_TRANSPORT_TCP)
        return CHOOSE_TCP;
    against = speaks_against(f, why);
    if (against && f->transport == MIG_TRANSPORT_RDMA)
        return CHOOSE_TCP;
    if (!f->looked)
        return CHOOSE_LOOK;
    if (f->no_device[0]) { /* whatever else there was: nobody misses what could not have been */
        snprintf(why, CONTROL_TEXT_SIZE, "%.480s", against ? "" : f->no_device);
        return CHOOSE_TCP;
    }
    if (against)
        return CHOOSE_TCP;
    if (!f->answered)
        return CHOOSE_ASK;
    if (f->answer && f->answer->port)
        return CHOOSE_RDMA;
    if (f->answer)
        snprintf(why, CONTROL_TEXT_SIZE, "the target: %.480s",
                 f->answer->why[0] ? f->answer->why : "no RDMA, without a reason");
    else
        snprintf(why, CONTROL_TEXT_SIZE, "the target knows nothing of RDMA");
    return CHOOSE_TCP;
}

enum choose
choose_target(const struct choose_facts *f, char why[CONTROL_TEXT_SIZE])
{
    why[0] = '\0';
    if (speaks_against(f, why))
        return CHOOSE_TCP;
    if (!f->looked)
        return CHOOSE_LOOK;
    if (!f->no_device[0])
        return CHOOSE_RDMA;
    snprintf(why, CONTROL_TEXT_SIZE, "%.480s", f->no_device);
    return CHOOSE_TCP;
}

/* What a device would not change. */
static bool
speaks_against(const struct choose_facts *f, char why[CONTROL_TEXT_SIZE])
{
    const char *encoding = on_processor(f->encoding);

    if (!f->trusted)
        snprintf(why, CONTROL_TEXT_SIZE,
                 "RDMA does not encrypt, and the migration network is not declared trusted");
    else if (f->around)
        snprintf(why, CONTROL_TEXT_SIZE,
                 "RDMA does not encrypt, and the way around the migration network is not "
                 "declared trusted");
    else if (encoding && f->transport == MIG_TRANSPORT_AUTO)
        snprintf(why, CONTROL_TEXT_SIZE,
                 "the policy fixes the encoding %s, which is the processor's work", encoding);
    else if (f->failures >= CHOOSE_FAILURES)
        snprintf(why, CONTROL_TEXT_SIZE, "RDMA has failed %u times in this migration, last: %.300s",
                 f->failures, f->failure);
    else
        return false;
    return true;
}

/* Its name, if that is where the encoding happens, or NULL. */
static const char *
on_processor(enum mig_encoding e)
{
    static const char *const names[MIG_ENC_COUNT] = {
        [MIG_ENC_DELTA] = "delta", [MIG_ENC_LZ4] = "lz4", [MIG_ENC_ZSTD] = "zstd"};

    return (unsigned)e < MIG_ENC_COUNT ? names[e] : NULL;
}
