/* Figures of a migration as JSON; see stats_tree.h. */
#include "handler/stats_tree.h"

static void put_common(struct tree *t, const struct mig_stats *st);
static void put_encodings(struct tree *t, const struct mig_stats *st);
static void put_transport(struct tree *t, const struct mig_stats *st);
static void put_ms(struct tree *t, const char *key, uint64_t us);

/* What both ends count, and both bodies of the source have. */
static void
put_common(struct tree *t, const struct mig_stats *st)
{
    tree_set(t, "mode", tree_string(stats_tree_mode(st->mode)));
    tree_set(t, "channels", tree_int(st->channels));
    tree_set(t, "encrypted", tree_bool(st->encrypted));
    tree_set(t, "tls", tree_string(st->suite));
    tree_set(t, "reconnects", tree_int(st->reconnects));
    tree_set(t, "pathMtuBytes", tree_int(st->path_mtu_bytes));
    tree_set(t, "cpuMs", tree_int((int64_t)(st->cpu_us / 1000)));
    put_transport(t, st);
}

/* Nothing before there was a connection, and of RDMA nothing where it was not used. */
static void
put_transport(struct tree *t, const struct mig_stats *st)
{
    if (st->transport != MIG_TRANSPORT_AUTO)
        tree_set(t, "transport", tree_string(mig_transport_name(st->transport)));
    if (st->transport_why[0])
        tree_set(t, "transportReason", tree_string(st->transport_why));
    if (st->rdma_device[0])
        tree_set(t, "rdmaDevice", tree_string(st->rdma_device));
    if (st->placed_pages)
        tree_set(t, "placedPages", tree_int((int64_t)st->placed_pages));
    if (st->registered_peak_bytes) {
        tree_set(t, "registeredBytes", tree_int((int64_t)st->registered_bytes));
        tree_set(t, "registeredPeakBytes", tree_int((int64_t)st->registered_peak_bytes));
    }
}

static void
put_memory(struct tree *t, const struct mig_stats *st)
{
    tree_set(t, "rawPages", tree_int((int64_t)st->raw_pages));
    tree_set(t, "zeroPages", tree_int((int64_t)st->zero_pages));
    tree_set(t, "absentPages", tree_int((int64_t)st->absent_pages));
    tree_set(t, "againPages", tree_int((int64_t)st->again_pages));
    put_encodings(t, st);
    tree_set(t, "throttlePercent", tree_int(st->throttle_percent));
    put_ms(t, "throttleMs", st->throttle_us);
    put_ms(t, "shapingWaitMs", st->shaping_wait_us);
    tree_set(t, "writeFaults", tree_int((int64_t)st->write_faults));
    put_ms(t, "writeFaultMs", st->write_fault_us);
    if (st->postcopy_us)
        put_ms(t, "postCopyMs", st->postcopy_us);
}

struct tree *
stats_tree_progress(const struct mig_stats *st, uint64_t now_us)
{
    struct tree *t = tree_map();
    uint64_t elapsed = st->started_us && now_us > st->started_us ? now_us - st->started_us : 0;

    tree_set(t, "round", tree_int(st->round));
    tree_set(t, "totalBytes", tree_int((int64_t)st->total_bytes));
    tree_set(t, "remainingBytes", tree_int((int64_t)st->remaining_bytes));
    tree_set(t, "sentBytes", tree_int((int64_t)st->sent_bytes));
    tree_set(t, "transferBytesPerSecond", tree_int((int64_t)st->transfer_bytes_per_s));
    tree_set(t, "dirtyBytesPerSecond", tree_int((int64_t)st->dirty_bytes_per_s));
    tree_set(t, "limitBytesPerSecond", tree_int((int64_t)st->limit_bytes_per_s));
    tree_set(t, "predictedDowntimeMs", tree_int((int64_t)(st->predicted_downtime_us / 1000)));
    tree_set(t, "predictedDowntimeP90Ms",
             tree_int((int64_t)(st->predicted_downtime_p90_us / 1000)));
    tree_set(t, "predictedTotalMs", tree_int((int64_t)(st->predicted_total_p50_us / 1000)));
    tree_set(t, "predictedTotalP90Ms", tree_int((int64_t)(st->predicted_total_p90_us / 1000)));
    tree_set(t, "elapsedMs", tree_int((int64_t)(elapsed / 1000)));
    tree_set(t, "connected", tree_bool(st->link != MIG_LINK_NONE));
    put_common(t, st);
    put_memory(t, st);
    if (st->mode == MIG_MODE_POSTCOPY)
        tree_set(t, "missingBytes", tree_int((int64_t)st->missing_bytes));
    return t;
}

struct tree *
stats_tree_result(const struct mig_stats *st, bool moved, enum mig_cause cause, uint64_t now_us)
{
    struct tree *t = tree_map(), *phases = tree_map();
    const struct mig_downtime *d = &st->downtime;
    uint64_t end = st->finished_us ? st->finished_us : now_us;

    tree_set(t, "outcome", tree_string(moved ? "succeeded" : "failed"));
    tree_set(t, "cause", tree_string(moved ? "" : stats_tree_cause(cause)));
    if (!st->started_us) { /* an earlier life of this handler ran it */
        tree_free(phases);
        return t;
    }
    tree_set(t, "rounds", tree_int(st->round));
    tree_set(t, "sentBytes", tree_int((int64_t)st->sent_bytes));
    tree_set(t, "totalMs", tree_int((int64_t)((end - st->started_us) / 1000)));
    if (st->downtime_us)
        put_ms(t, "downtimeMs", st->downtime_us);
    put_ms(t, "predictedDowntimeMs", st->predicted_downtime_us);
    put_ms(phases, "stopMs", d->stop_us);
    put_ms(phases, "scanMs", d->scan_us);
    put_ms(phases, "pagesMs", d->pages_us);
    put_ms(phases, "stateMs", d->state_us);
    put_ms(phases, "commitMs", d->commit_us);
    if (d->stop_us)
        tree_set(t, "downtime", TAKE_PTR(phases));
    tree_free(phases);
    tree_set(t, "limitBytesPerSecond", tree_int((int64_t)st->limit_bytes_per_s));
    put_common(t, st);
    put_memory(t, st);
    return t;
}

struct tree *
stats_tree_target(const struct mig_stats *st, const char *node)
{
    struct tree *t = tree_map(), *phases = tree_map(), *faults = tree_list();

    tree_set(t, "node", tree_string(node));
    tree_set(t, "receivedBytes", tree_int((int64_t)st->sent_bytes));
    put_common(t, st);
    put_ms(phases, "loadMs", st->downtime.load_us);
    put_ms(phases, "commitMs", st->downtime.commit_us);
    put_ms(phases, "resumeMs", st->downtime.resume_us);
    tree_set(t, "downtime", phases);
    if (st->postcopy_us)
        put_ms(t, "postCopyMs", st->postcopy_us);
    if (st->missing_bytes)
        tree_set(t, "missingBytes", tree_int((int64_t)st->missing_bytes));
    for (unsigned i = 0; i < MIG_FAULT_BUCKETS; i++) {
        struct tree *one;

        if (!st->fault_us[i])
            continue;
        one = tree_map();
        tree_set(one, "belowUs", tree_int((int64_t)1 << i));
        tree_set(one, "count", tree_int((int64_t)st->fault_us[i]));
        tree_append(faults, one);
    }
    if (st->faults) {
        tree_set(t, "faults", tree_int((int64_t)st->faults));
        tree_set(t, "faultP50Us", tree_int((int64_t)stats_fault_quantile_us(st, 500)));
        tree_set(t, "faultP99Us", tree_int((int64_t)stats_fault_quantile_us(st, 990)));
        tree_set(t, "faultHistogram", TAKE_PTR(faults));
        if (st->read_faults)
            tree_set(t, "readFaults", tree_int((int64_t)st->read_faults));
    }
    tree_free(faults);
    return t;
}

uint64_t
stats_fault_quantile_us(const struct mig_stats *st, unsigned permille)
{
    uint64_t all = 0, sum = 0;

    for (unsigned i = 0; i < MIG_FAULT_BUCKETS; i++)
        all += st->fault_us[i];
    for (unsigned i = 0; all && i < MIG_FAULT_BUCKETS; i++) {
        sum += st->fault_us[i];
        if (sum * 1000 >= all * permille)
            return UINT64_C(1) << i;
    }
    return 0;
}

const char *
stats_tree_cause(enum mig_cause cause)
{
    static const char *const causes[] = {
        [MIG_CAUSE_NONE] = "",
        [MIG_CAUSE_CANCELLED] = "cancelled",
        [MIG_CAUSE_COMPLETION_TIMEOUT] = "completionTimeout",
        [MIG_CAUSE_PROGRESS_TIMEOUT] = "progressTimeout",
        [MIG_CAUSE_CONNECT] = "connect",
        [MIG_CAUSE_PEER] = "peer",
        [MIG_CAUSE_PROTOCOL] = "protocol",
        [MIG_CAUSE_GUEST] = "guest",
        [MIG_CAUSE_LOCAL] = "local",
    };

    return causes[cause];
}

const char *
stats_tree_mode(enum mig_mode mode)
{
    return mode == MIG_MODE_POSTCOPY ? "PostCopy" : mode == MIG_MODE_PAUSED ? "Paused" : "PreCopy";
}

const char *
stats_tree_encoding(enum mig_encoding e)
{
    static const char *const names[MIG_ENC_COUNT] = {
        [MIG_ENC_AUTO] = "auto",   [MIG_ENC_RAW] = "raw", [MIG_ENC_ZERO] = "zero",
        [MIG_ENC_DELTA] = "delta", [MIG_ENC_LZ4] = "lz4", [MIG_ENC_ZSTD] = "zstd",
    };

    return names[e];
}

/* {"raw":{"pages":…,"bytes":…},…}: those that were used. */
static void
put_encodings(struct tree *t, const struct mig_stats *st)
{
    struct tree *all = tree_map();

    for (int e = MIG_ENC_RAW; e < MIG_ENC_COUNT; e++) {
        struct tree *one;

        if (!st->enc_pages[e])
            continue;
        one = tree_map();
        tree_set(one, "pages", tree_int((int64_t)st->enc_pages[e]));
        tree_set(one, "bytes", tree_int((int64_t)st->enc_bytes[e]));
        tree_set(all, stats_tree_encoding((enum mig_encoding)e), one);
    }
    tree_set(t, "encodings", all);
}

static void
put_ms(struct tree *t, const char *key, uint64_t us)
{
    tree_set(t, key, tree_float((double)us / 1000.0));
}
